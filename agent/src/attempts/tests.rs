//! What the table of attempts promises to the loops.

use super::*;
use crate::samples::lease;

fn claim(number: u64) -> OpenClaim {
    OpenClaim { number, from_ms: 500 }
}

fn id(text: &str) -> LeaseId {
    LeaseId::new(text).unwrap()
}

#[test]
fn a_claim_without_an_answer_is_made_again_and_its_leases_count_from_the_sending_that_was_answered() {
    let attempts = Attempts::new(2);
    assert_eq!(attempts.open_claim(100), OpenClaim { number: 1, from_ms: 100 });
    let again = attempts.open_claim(700);
    assert_eq!(again, OpenClaim { number: 1, from_ms: 700 });
    assert_eq!(attempts.snapshot().0, 0, "it does not count as read");
    let begun = attempts.accept(again, vec![lease("j", "l")], 1_200);
    assert_eq!(begun[0].1.borrow().deadline_ms, Some(1_700));
    assert_eq!(attempts.snapshot(), (1, vec![lease("j", "l").held()]));
    assert_eq!((attempts.open_claim(900).number, attempts.free_slots(&[])), (2, 1));
}

#[test]
fn a_lease_counts_from_when_its_claim_had_waited_and_never_from_a_time_to_come() {
    let open = Attempts::new(2).open_claim(1_000);
    assert_eq!(open.handed_out_after(0, 9_000).from_ms, 1_000);
    assert_eq!(open.handed_out_after(7_500, 9_000).from_ms, 8_500);
    for absurd in [8_001, u64::MAX] {
        assert_eq!(open.handed_out_after(absurd, 9_000).from_ms, 9_000);
    }
}

#[test]
fn a_lease_that_has_run_out_and_one_too_many_are_not_held() {
    let attempts = Attempts::new(1);
    assert!(attempts.accept(claim(1), vec![lease("j", "late")], 1_500).is_empty());
    let two = vec![lease("j", "first"), lease("k", "second")];
    assert_eq!(attempts.accept(claim(2), two, 600).len(), 1);
    assert_eq!(attempts.snapshot(), (2, vec![lease("j", "first").held()]));
}

#[test]
fn clients_bring_no_more_than_a_heartbeat_lists_beside_the_jobs() {
    let attempts = Attempts::new(4);
    attempts.take_requests(8);
    let most = limits::LEASES - 4;
    for n in 0..most - 1 {
        let place = attempts.expect_request().unwrap();
        let lease = HeldLease { lease_id: id(&format!("l{n}")), ..lease("j", "l").held() };
        attempts.adopt_request(lease, 1_000);
        drop(place);
    }
    let last = attempts.expect_request().unwrap();
    assert!(attempts.expect_request().is_none(), "one is on its way");
    drop(last);
    assert!(attempts.expect_request().is_some(), "it did not come");
    assert_eq!(attempts.free_requests(&[]), 0);
}

#[test]
fn a_second_answer_to_a_claim_changes_nothing() {
    let attempts = Attempts::new(2);
    attempts.accept(claim(1), vec![lease("j", "l")], 600);
    attempts.remove(&id("l"));
    assert!(attempts.accept(claim(1), vec![lease("j", "l")], 600).is_empty());
    assert_eq!(attempts.free_slots(&[]), 2);
}

#[test]
fn an_abandoned_claim_counts_as_read_so_that_its_leases_go_back() {
    let attempts = Attempts::new(2);
    attempts.open_claim(0);
    attempts.abandon_claim();
    assert_eq!(attempts.snapshot(), (1, vec![]));
    assert!(attempts.accept(claim(1), vec![lease("j", "l")], 600).is_empty());
}

#[test]
fn a_deadline_never_moves_back_and_a_lost_lease_is_not_renewed() {
    let attempts = Attempts::new(2);
    let (lease, orders) = attempts.accept(claim(1), vec![lease("j", "l")], 600).remove(0);
    let held = lease.held();
    assert_eq!(orders.borrow().deadline_ms, Some(1_500));
    attempts.renew([&held], 3_000);
    attempts.renew([&held], 2_000);
    assert_eq!(orders.borrow().deadline_ms, Some(3_000));
    assert_eq!(attempts.disowned_jobs(), 0);
    assert_eq!(attempts.revoke(&held.lease_id), Revoked::Ending);
    assert_eq!(attempts.disowned_jobs(), 1, "they may hinder the agent");
    attempts.renew([&held], 9_000);
    assert_eq!(*orders.borrow(), Orders { deadline_ms: Some(3_000), stop: Some(Stop::Revoke), at_once: false });
    assert_eq!(attempts.revoke(&held.lease_id), Revoked::Known);
    assert_eq!(
        (attempts.snapshot().1, attempts.free_slots(&[])),
        (vec![held.clone()], 1),
        "its processes may still run"
    );
    attempts.remove(&held.lease_id);
    assert_eq!((attempts.snapshot().1.len(), attempts.free_slots(&[])), (0, 2));
}

#[test]
fn the_stronger_order_stays() {
    let attempts = Attempts::new(2);
    let (_, orders) = attempts.accept(claim(1), vec![lease("j", "l")], 600).remove(0);
    attempts.cancel(&[JobId::new("j").unwrap()]);
    attempts.stop_all(Stop::Release);
    assert_eq!(orders.borrow().stop, Some(Stop::Cancel));
    attempts.kill_all();
    assert_eq!(*orders.borrow(), Orders { deadline_ms: Some(1_500), stop: Some(Stop::Cancel), at_once: true });
}

#[test]
fn an_ended_attempt_keeps_its_slot_until_its_report_is_answered() {
    let attempts = Attempts::new(1);
    attempts.accept(claim(1), vec![lease("j", "l")], 600);
    attempts.ended(&id("l"));
    assert_eq!((attempts.free_slots(&[]), attempts.running(), attempts.snapshot().1.len()), (0, 0, 1));
    assert_eq!(attempts.revoke(&id("l")), Revoked::Gone);
    assert_eq!((attempts.free_slots(&[]), attempts.revoke(&id("l"))), (1, Revoked::Known));
}

#[tokio::test]
async fn a_job_that_came_back_waits_for_its_earlier_attempt_to_be_gone() {
    let attempts = Attempts::new(2);
    attempts.accept(claim(1), vec![lease("j", "old")], 600);
    attempts.accept(claim(2), vec![lease("j", "new"), lease("other", "third")], 600);
    attempts.alone(&lease("j", "old").held()).await;
    attempts.alone(&lease("other", "third").held()).await;
    let second = lease("j", "new").held();
    let mut waiting = std::pin::pin!(attempts.alone(&second));
    let early = tokio::select! { biased; () = &mut waiting => true, () = std::future::ready(()) => false };
    assert!(!early);
    attempts.remove(&id("old"));
    waiting.await;
}

#[test]
fn what_has_ended_and_is_about_to_be_forgotten_is_room_for_the_next_claim() {
    let attempts = Attempts::new(2);
    attempts.accept(claim(1), vec![lease("j", "l"), lease("k", "m")], 600);
    assert_eq!(attempts.free_slots(&[]), 0);
    assert_eq!(attempts.free_slots(&[id("l"), id("unknown")]), 1);
    assert_eq!(attempts.free_requests(&[id("l")]), 0);
}
