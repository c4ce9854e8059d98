//! What the table of attempts promises to the loops.

use super::*;

fn lease(job: &str, lease: &str) -> Lease {
    Lease {
        job_id: JobId::new(job).unwrap(),
        attempt: 1,
        lease_id: LeaseId::new(lease).unwrap(),
        lease_ttl_ms: 1_000,
        process: titan_api::jobs::ProcessSpec::default(),
        devices: Vec::new(),
        timeout_ms: None,
    }
}

fn id(text: &str) -> LeaseId {
    LeaseId::new(text).unwrap()
}

#[test]
fn a_claim_without_an_answer_is_made_again_under_its_number() {
    let attempts = Attempts::new(2);
    assert_eq!(attempts.open_claim(), Claim { claim: 1, free_slots: 2 });
    assert_eq!(attempts.open_claim().claim, 1);
    assert_eq!(attempts.snapshot().0, 0, "it does not count as read");
    assert_eq!(attempts.accept(1, vec![lease("j", "l")], 0).len(), 1);
    assert_eq!(attempts.snapshot(), (1, vec![held_lease(&lease("j", "l"))]));
    assert_eq!(attempts.open_claim(), Claim { claim: 2, free_slots: 1 });
}

#[test]
fn a_second_answer_to_a_claim_changes_nothing() {
    let attempts = Attempts::new(2);
    attempts.accept(1, vec![lease("j", "l")], 0);
    attempts.remove(&id("l"));
    assert!(attempts.accept(1, vec![lease("j", "l")], 0).is_empty());
    assert_eq!(attempts.free_slots(), 2);
}

#[test]
fn an_abandoned_claim_counts_as_read_so_that_its_leases_go_back() {
    let attempts = Attempts::new(2);
    attempts.open_claim();
    attempts.abandon_claim();
    assert_eq!(attempts.snapshot(), (1, vec![]));
    assert!(attempts.accept(1, vec![lease("j", "l")], 0).is_empty());
}

#[test]
fn a_deadline_never_moves_back_and_a_lost_lease_is_not_renewed() {
    let attempts = Attempts::new(2);
    let (lease, orders) = attempts.accept(1, vec![lease("j", "l")], 500).remove(0);
    let held = held_lease(&lease);
    assert_eq!(orders.borrow().deadline_ms, 1_500);
    attempts.renew([&held], 3_000);
    attempts.renew([&held], 2_000);
    assert_eq!(orders.borrow().deadline_ms, 3_000);
    assert_eq!(attempts.revoke(&held.lease_id), Revoked::Ending);
    attempts.renew([&held], 9_000);
    assert_eq!(*orders.borrow(), Orders { deadline_ms: 3_000, stop: Some(Stop::Revoke), at_once: false });
    assert_eq!((attempts.snapshot().1.len(), attempts.free_slots()), (0, 1), "not listed, but its slot is taken");
}

#[test]
fn the_stronger_order_stays() {
    let attempts = Attempts::new(2);
    let (_, orders) = attempts.accept(1, vec![lease("j", "l")], 0).remove(0);
    attempts.cancel(&[JobId::new("j").unwrap()]);
    attempts.stop_all(Stop::Release);
    assert_eq!(orders.borrow().stop, Some(Stop::Cancel));
    attempts.kill_all();
    assert_eq!(*orders.borrow(), Orders { deadline_ms: 1_000, stop: Some(Stop::Revoke), at_once: true });
}

#[test]
fn an_ended_attempt_keeps_its_slot_until_its_report_is_answered() {
    let attempts = Attempts::new(1);
    attempts.accept(1, vec![lease("j", "l")], 0);
    attempts.ended(&id("l"));
    assert_eq!((attempts.free_slots(), attempts.running(), attempts.snapshot().1.len()), (0, 0, 1));
    assert_eq!(attempts.revoke(&id("l")), Revoked::Gone);
    assert_eq!((attempts.free_slots(), attempts.revoke(&id("l"))), (1, Revoked::Unknown));
}

#[tokio::test]
async fn a_job_that_came_back_waits_for_its_earlier_attempt_to_be_gone() {
    let attempts = Attempts::new(2);
    attempts.accept(1, vec![lease("j", "old")], 0);
    attempts.accept(2, vec![lease("j", "new"), lease("other", "third")], 0);
    attempts.alone(&held_lease(&lease("j", "old"))).await;
    attempts.alone(&held_lease(&lease("other", "third"))).await;
    let second = held_lease(&lease("j", "new"));
    let mut waiting = std::pin::pin!(attempts.alone(&second));
    let early = tokio::select! { biased; () = &mut waiting => true, () = std::future::ready(()) => false };
    assert!(!early);
    attempts.remove(&id("old"));
    waiting.await;
}
