//! A backend in a container of Docker's. Its labels say whose it is, so that the agent's next start finds it.

mod body;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use bollard::{
    Docker,
    errors::Error,
    models::{ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use tokio::{task::JoinHandle, time::sleep};
use tracing::{debug, info, warn};

use super::{
    docker::{connect, words},
    environment,
    gpus::Chosen,
    home::Home,
    log::{self, Log},
};
use crate::{
    backends::Kind,
    config::{Supervised, Wanted},
    files,
};

/// Seconds from being asked to end to being ended.
const GRACE_S: i32 = 10;
/// From one look to the next while Docker does not answer.
const PAUSE: Duration = Duration::from_secs(2);

/// A backend that runs in a container.
#[derive(Debug)]
pub(super) struct Container {
    docker: Docker,
    id: String,
    log: PathBuf,
    log_from: u64,
    /// Takes what it says into the log.
    reading: JoinHandle<()>,
}

/// Everything that says what container is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub wanted: &'a Wanted,
    pub supervised: &'a Supervised,
    pub gpus: &'a Chosen,
    /// The agent's own mark.
    pub agent: &'a str,
    pub home: &'a Home,
}

/// The mark of the agent with that state folder on its containers.
pub(super) fn mark(state_dir: &Path) -> String {
    body::short_digest(state_dir.as_os_str().as_encoded_bytes())
}

impl Container {
    /// Takes over the container that an earlier run of the agent has left, if it is what is wanted and runs, with its
    /// port; removes it otherwise.
    ///
    /// # Errors
    /// Docker cannot do that, in words.
    pub(super) async fn find(order: Order<'_>) -> Result<Option<(Self, u16)>, String> {
        let docker = connect().await?;
        let mut found = None;
        for left in list(&docker, order.agent, order.wanted.kind).await? {
            let Some(id) = left.id.clone() else { continue };
            let port = label(&left, body::PORT).and_then(|port| port.parse().ok());
            let is_meant = port.is_some_and(|port| order.wanted.port.is_none_or(|wish| wish == port));
            let plan = port.filter(|_| is_meant).and_then(|port| order.body(port).ok());
            let fits = plan.and_then(|plan| plan.labels?.remove(body::PLAN)).as_deref() == label(&left, body::PLAN);
            let runs = left.state == Some(ContainerSummaryStateEnum::RUNNING);
            match port.filter(|_| fits && runs && found.is_none()) {
                Some(port) => found = Some((Self::watched(&docker, id, order.home, false), port)),
                None => remove(&docker, &id).await?,
            }
        }
        Ok(found)
    }

    /// Makes the container at `port` of loopback, and starts it; its image is fetched if it is not there.
    ///
    /// # Errors
    /// Docker cannot do that, in words.
    pub(super) async fn start(order: Order<'_>, port: u16, tell: impl Fn(String)) -> Result<Self, String> {
        let body = order.body(port)?;
        for name in environment::of_container(order.wanted.recipe.passed_on()).1 {
            warn!("the container of {} does not get {name}: Docker would show the password in it", order.wanted.kind);
        }
        let docker = connect().await?;
        // From here on there may be one.
        files::write_scratch(&order.home.container(), b"").map_err(|e| format!("its folder cannot be written: {e}"))?;
        fetch_image(&docker, body.image.as_deref().unwrap_or_default(), tell).await?;
        let name = format!("titan-{}-{}", order.wanted.kind, order.agent);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let made = docker.create_container(Some(options), body).await.map_err(|e| words(&e))?;
        if let Err(e) = docker.start_container(&made.id, None).await {
            let why = words(&e);
            let _ = remove(&docker, &made.id).await;
            return Err(why);
        }
        Ok(Self::watched(&docker, made.id, order.home, true))
    }

    fn watched(docker: &Docker, id: String, home: &Home, from_its_start: bool) -> Self {
        let (log, log_from) = (home.log(), log::end_of(&home.log()));
        let reading = tokio::spawn(read(docker.clone(), id.clone(), log.clone(), from_its_start));
        Self { docker: docker.clone(), id, log, log_from, reading }
    }

    /// Waits until it has ended, and says how.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
            let mut waiting = pin!(self.docker.wait_container(&self.id, Some(options)));
            let code = match waiting.next().await {
                Some(Ok(end)) => Some(end.status_code),
                Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
                Some(Err(Error::DockerResponseServerError { status_code: 404, .. })) => {
                    return "its container was removed".to_owned();
                }
                // Docker itself is started anew, perhaps. Whether the backend still answers is seen elsewhere.
                _ => None,
            };
            if let Some(code) = code {
                return format!("it ended with code {code}");
            }
            sleep(PAUSE).await;
        }
    }

    /// The end of what it said.
    pub(super) fn last_words(&self) -> String {
        log::tail(&self.log, self.log_from)
    }

    /// Ends it and removes it.
    pub(super) async fn stop(&mut self) {
        if let Err(why) = remove(&self.docker, &self.id).await {
            warn!("a container is left over: {why}");
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Order<'_> {
    fn body(self, port: u16) -> Result<ContainerCreateBody, String> {
        body::of(self.wanted, self.supervised, self.gpus, self.agent, port)
    }
}

/// Removes all containers of `kind` that the agent with that mark has made.
///
/// # Errors
/// Docker cannot do that, in words.
pub(super) async fn remove_all(agent: &str, kind: Kind) -> Result<(), String> {
    let docker = connect().await?;
    for left in list(&docker, agent, kind).await? {
        if let Some(id) = left.id {
            remove(&docker, &id).await?;
        }
    }
    Ok(())
}

async fn list(docker: &Docker, agent: &str, kind: Kind) -> Result<Vec<ContainerSummary>, String> {
    let labels = vec![format!("{}={agent}", body::AGENT), format!("{}={kind}", body::BACKEND)];
    let filters = HashMap::from([("label".to_owned(), labels)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    docker.list_containers(Some(options)).await.map_err(|e| words(&e))
}

fn label<'a>(container: &'a ContainerSummary, name: &str) -> Option<&'a str> {
    container.labels.as_ref()?.get(name).map(String::as_str)
}

/// One that is gone already is fine.
async fn remove(docker: &Docker, id: &str) -> Result<(), String> {
    let options = StopContainerOptionsBuilder::default().t(GRACE_S).build();
    if let Err(e) = docker.stop_container(id, Some(options)).await {
        debug!("a container could not be asked to end: {}", words(&e));
    }
    // Its anonymous volumes go with it; the one with the models has a name.
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match docker.remove_container(id, Some(options)).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(e) => Err(words(&e)),
    }
}

async fn fetch_image(docker: &Docker, image: &str, tell: impl Fn(String)) -> Result<(), String> {
    match docker.inspect_image(image).await {
        Ok(_) => return Ok(()),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(e) => return Err(words(&e)),
    }
    info!("the image {image} is fetched");
    tell(format!("fetches the image {image}"));
    // Without a tag all of them would come.
    let name = image.rsplit('/').next().unwrap_or_default();
    let tagged = if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") };
    let options = CreateImageOptionsBuilder::default().from_image(&tagged).build();
    let mut fetching = pin!(docker.create_image(Some(options), None, None));
    while let Some(step) = fetching.next().await {
        step.map_err(|e| format!("the image {image} cannot be fetched: {}", words(&e)))?;
    }
    Ok(())
}

/// Takes what a container says into its log, until it ends.
async fn read(docker: Docker, id: String, path: PathBuf, from_its_start: bool) {
    let tail = if from_its_start { "all" } else { "0" };
    let options = LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).tail(tail).build();
    let (mut said, mut log) = (pin!(docker.logs(&id, Some(options))), Log::open(path));
    while let Some(Ok(piece)) = said.next().await {
        log.write(&piece.into_bytes());
    }
}
