//! What one copy has of a key's quotas: what it took in advance, and what Redis said last.

use std::time::{Duration, Instant};

use http::HeaderValue;
use titan_api::credentials::{KeyLimits, Quota};
use titan_lua::credentials::spend::{Policy, Purse};

use super::{Cost, Shortage, Standing, each, left, policies};

/// How long what was taken in advance may be handed out.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// One part in so many of a quota is taken in advance at most.
const SHARE: u64 = 100;

/// The account.
#[derive(Debug)]
pub(super) struct Account {
    requests: Pocket,
    body_bytes: Pocket,
    good_until: Instant,
    /// When there will be a request again, if there was none.
    none_until: Option<Instant>,
    /// `RateLimit-Policy`, of the limits that the key had then.
    policy: Option<(KeyLimits, HeaderValue)>,
}

/// Of one quota.
#[derive(Debug)]
struct Pocket {
    in_hand: u64,
    /// What was handed out since Redis was asked last: the measure for what is taken in advance.
    spent: u64,
    left: u64,
    whole_at: Instant,
}

impl Account {
    pub(super) fn new(now: Instant) -> Self {
        let pocket = || Pocket { in_hand: 0, spent: 0, left: 0, whole_at: now };
        Self { requests: pocket(), body_bytes: pocket(), good_until: now, none_until: None, policy: None }
    }

    /// Takes from what is in hand; none if Redis has to be asked. A refusal holds until its time, so that a key which
    /// keeps calling costs Redis nothing.
    pub(super) fn take(&mut self, cost: Cost, now: Instant) -> Option<Result<(), Shortage>> {
        if let Some(until) = self.none_until.filter(|until| cost.requests > 0 && now < *until) {
            return Some(Err(Shortage { policy: Policy::Requests, wait: until - now }));
        }
        let enough = self.requests.in_hand >= cost.requests && self.body_bytes.in_hand >= cost.body_bytes;
        if !enough || now >= self.good_until {
            return None;
        }
        self.requests.hand_out(cost.requests);
        self.body_bytes.hand_out(cost.body_bytes);
        Some(Ok(()))
    }

    /// What to take in advance with the next question, of requests and bytes. Whoever asks beside this one takes nothing
    /// in advance.
    pub(super) fn ahead(&mut self, limits: &KeyLimits, now: Instant) -> (u64, u64) {
        let good = now < self.good_until;
        (self.requests.ahead(limits.requests, good), self.body_bytes.ahead(limits.body_bytes, good))
    }

    /// Redis gave what was asked for.
    pub(super) fn fill(&mut self, requests: Purse, body_bytes: Purse, cost: Cost, now: Instant) {
        let good = now < self.good_until;
        self.requests.fill(requests, cost.requests, good, now);
        self.body_bytes.fill(body_bytes, cost.body_bytes, good, now);
        self.good_until = now + GOOD_FOR;
        self.none_until = None;
    }

    /// Redis had not enough. How many bytes are enough depends on the body, so only a lack of requests is remembered.
    pub(super) fn refuse(&mut self, shortage: Shortage, now: Instant) {
        if shortage.policy == Policy::Requests {
            self.none_until = Some(now + shortage.wait);
        }
    }

    /// How the key stands.
    pub(super) fn standing(&mut self, limits: &KeyLimits, now: Instant) -> Standing {
        let known = self.policy.take().filter(|(then, _)| then == limits);
        let (_, policy) = self.policy.insert(known.unwrap_or_else(|| (*limits, policies(limits))));
        Standing { policy: policy.clone(), left: self.left(limits, now) }
    }

    /// `RateLimit`.
    fn left(&self, limits: &KeyLimits, now: Instant) -> HeaderValue {
        let good = now < self.good_until;
        left(each(limits).map(|(policy, quota)| {
            let pocket = match policy {
                Policy::Requests => &self.requests,
                Policy::BodyBytes => &self.body_bytes,
            };
            let in_hand = if good { pocket.in_hand } else { 0 };
            // What is in hand was taken before, and its place in the quota may have filled up since.
            (policy, (pocket.left + in_hand).min(quota.quota), pocket.whole_at.saturating_duration_since(now))
        }))
    }

    /// Whether it holds what it would be a pity to lose.
    pub(super) fn is_current(&self, now: Instant) -> bool {
        now < self.good_until || self.none_until.is_some_and(|until| now < until)
    }
}

impl Pocket {
    fn hand_out(&mut self, cost: u64) {
        self.in_hand -= cost;
        self.spent += cost;
    }

    fn ahead(&mut self, quota: Option<Quota>, good: bool) -> u64 {
        let most = quota.map_or(0, |quota| quota.quota / SHARE);
        // What did not last for its second was too little; of what did, some may have been lost.
        let (wanted, in_hand) = if good { (self.spent * 2, self.in_hand) } else { (self.spent, 0) };
        self.spent = 0;
        wanted.min(most).saturating_sub(in_hand)
    }

    fn fill(&mut self, purse: Purse, cost: u64, good: bool, now: Instant) {
        self.in_hand = if good { self.in_hand + purse.ahead } else { purse.ahead };
        self.spent += cost;
        self.left = purse.left;
        self.whole_at = now + purse.whole_in;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost = Cost { requests: 1, body_bytes: 0 };

    /// A Redis that has all that is asked for.
    fn ask(account: &mut Account, limits: &KeyLimits, now: Instant) -> u64 {
        let (ahead, _) = account.ahead(limits, now);
        let purse = |ahead| Purse { ahead, left: 1_000, whole_in: Duration::from_secs(9) };
        account.fill(purse(ahead), purse(0), COST, now);
        ahead
    }

    fn limits(quota: u64) -> KeyLimits {
        KeyLimits { requests: Some(Quota { quota, window_ms: 60_000 }), body_bytes: None }
    }

    #[test]
    fn a_key_that_calls_often_is_asked_for_rarely_and_never_for_more_than_a_hundredth() {
        let (mut account, limits, now) = (Account::new(Instant::now()), limits(60_000), Instant::now());
        let mut asked = Vec::new();
        for _ in 0..5_000 {
            if account.take(COST, now).is_none() {
                asked.push(ask(&mut account, &limits, now));
            }
        }
        assert_eq!(asked[..6], [0, 2, 6, 14, 30, 62]);
        assert_eq!((asked.iter().max(), asked.len() < 20), (Some(&600), true), "{asked:?}");
    }

    #[test]
    fn no_more_is_said_to_be_left_than_there_ever_is() {
        let (mut account, limits, now) = (Account::new(Instant::now()), limits(1_000), Instant::now());
        let purse = |ahead, left| Purse { ahead, left, whole_in: Duration::from_millis(60) };
        account.fill(purse(8, 992), purse(0, 0), COST, now);
        // The quota is whole but for one request, and the eight are in hand still.
        account.fill(purse(0, 999), purse(0, 0), COST, now);
        assert_eq!(account.left(&limits, now), r#""requests";r=1000;t=1"#);
    }

    #[test]
    fn a_small_quota_is_never_taken_from_in_advance() {
        let (mut account, limits, now) = (Account::new(Instant::now()), limits(99), Instant::now());
        for _ in 0..90 {
            assert_eq!(account.take(COST, now), None);
            assert_eq!(ask(&mut account, &limits, now), 0);
        }
    }

    #[test]
    fn what_was_taken_in_advance_is_good_for_a_second() {
        let (mut account, limits, now) = (Account::new(Instant::now()), limits(60_000), Instant::now());
        ask(&mut account, &limits, now);
        assert_eq!(ask(&mut account, &limits, now), 2);
        assert_eq!(account.take(COST, now), Some(Ok(())));
        assert_eq!(account.left(&limits, now), r#""requests";r=1001;t=9"#);
        let later = now + GOOD_FOR;
        assert_eq!(account.take(COST, later), None);
        assert_eq!(account.left(&limits, later), r#""requests";r=1000;t=8"#);
        assert_eq!(ask(&mut account, &limits, later), 2, "as much as was spent in the second before");
    }

    #[test]
    fn a_refusal_holds_until_its_time_and_a_lack_of_bytes_is_asked_for_each_time() {
        let (mut account, now) = (Account::new(Instant::now()), Instant::now());
        let lack = |policy| Shortage { policy, wait: Duration::from_secs(3) };
        account.refuse(lack(Policy::BodyBytes), now);
        assert_eq!(account.take(COST, now), None);
        account.refuse(lack(Policy::Requests), now);
        let soon = now + Duration::from_secs(1);
        let wait = Shortage { policy: Policy::Requests, wait: Duration::from_secs(2) };
        assert_eq!(account.take(COST, soon), Some(Err(wait)));
        assert_eq!(account.take(COST, now + Duration::from_secs(3)), None);
    }
}
