//! Which of the box's GPUs a backend gets.

use std::str::FromStr;

use titan_api::{agents::Gpu, limits};

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GpuChoice {
    /// Those there are, however many.
    All,
    /// These, by number or UUID; possibly none.
    These(Vec<String>),
}

/// What that is on this box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// All of so many.
    All(usize),
    /// By UUID.
    These(Vec<String>),
}

impl FromStr for GpuChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::These(Vec::new())),
            _ => {}
        }
        let ids: Vec<_> = text.split(',').map(|id| id.trim().to_owned()).collect();
        let good = |id: &String| {
            (1..=limits::LABEL_BYTES).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'_'))
        };
        if !ids.iter().all(good) {
            return Err(format!("`{text}` chooses no GPUs: it must be `all`, `none`, or numbers or UUIDs with commas"));
        }
        Ok(Self::These(ids))
    }
}

impl GpuChoice {
    /// What is chosen of `gpus`.
    ///
    /// Numbers are those of the driver, and become UUIDs: CUDA counts the same GPUs in an order of its own.
    ///
    /// # Errors
    /// One is not there, in words.
    pub(crate) fn among(&self, gpus: &[Gpu]) -> Result<Chosen, String> {
        let Self::These(ids) = self else { return Ok(Chosen::All(gpus.len())) };
        let find = |id: &String| {
            let by_number = id.parse::<usize>().ok().and_then(|number| gpus.get(number));
            let found = by_number.or_else(|| gpus.iter().find(|gpu| gpu.uuid == *id));
            found.map(|gpu| gpu.uuid.clone()).ok_or_else(|| missing(id, gpus))
        };
        Ok(Chosen::These(ids.iter().map(find).collect::<Result<_, _>>()?))
    }
}

fn missing(id: &str, gpus: &[Gpu]) -> String {
    if gpus.is_empty() {
        return format!("the GPU {id} is chosen, and no GPU of NVIDIA is found here: `titan agent doctor` says why");
    }
    format!("the GPU {id} is chosen, and there are those from 0 to {}: `nvidia-smi -L` lists them", gpus.len() - 1)
}

impl Chosen {
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::These(ids) => ids.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(uuids: &[&str]) -> Vec<Gpu> {
        uuids.iter().map(|&uuid| Gpu { uuid: uuid.into(), name: String::new(), vram_mb: 1 }).collect()
    }

    #[test]
    fn numbers_and_uuids_name_gpus_of_the_box_and_others_are_missing() {
        let box_of_two = gpus(&["GPU-a", "GPU-b"]);
        let among = |text: &str| text.parse::<GpuChoice>().unwrap().among(&box_of_two);
        assert_eq!(among("all"), Ok(Chosen::All(2)));
        assert_eq!(among("none").unwrap().count(), 0);
        assert_eq!(among("1, GPU-a"), Ok(Chosen::These(vec!["GPU-b".into(), "GPU-a".into()])));
        assert!(among("2").unwrap_err().contains("from 0 to 1"));
        assert!("0".parse::<GpuChoice>().unwrap().among(&[]).unwrap_err().contains("no GPU of NVIDIA"));
        assert!("".parse::<GpuChoice>().is_err() && "0;1".parse::<GpuChoice>().is_err());
    }
}
