//! The audit that operators run, for tests: whatever a test has done to a pool, it must agree with itself.

use titan_lua::{
    Pool,
    audit::{Audit, Finding, Step},
};

/// Everything in a pool that does not agree, in order.
///
/// # Panics
/// If the pool cannot be read, or is not there.
pub async fn findings(pool: &Pool) -> Vec<Finding> {
    let (mut audit, mut all) = (Audit::default(), Vec::new());
    loop {
        match audit.step(pool).await {
            Ok(Step::Looked(slice)) => all.extend(slice.findings),
            Ok(Step::Done) => break,
            other => panic!("the audit of pool {} ended with {other:?}", pool.name()),
        }
    }
    all.sort();
    all
}
