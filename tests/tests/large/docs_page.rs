//! The page at `/docs`, in a real browser: by keyboard, with a key, in dark and light, and with nothing from elsewhere.

use serde_json::{Value, json};
use titan_api::{
    credentials::{CreateKey, Scope},
    ids::JobId,
};
use titan_tests::{browser::Browser, fleet::Fleet, skip::skipped};

use crate::helpers::{ended, shell, submit};

struct Page {
    fleet: Fleet,
    browser: Browser,
}

impl Page {
    async fn open() -> Option<Self> {
        let Some(mut browser) = Browser::start().await else {
            skipped("the page at /docs was not tried, since this machine has no Chromium");
            return None;
        };
        let fleet = Fleet::plan().agents(1).start().await;
        browser.open(&format!("{}/docs", fleet.coordinators[0].url())).await;
        browser.becomes_true("document.querySelectorAll('nav li a').length > 20").await;
        Some(Self { fleet, browser })
    }

    /// Goes to an operation by its address.
    async fn go(&mut self, address: &str) {
        self.browser.eval(&format!("location.hash = {}", json!(address))).await;
        self.browser
            .becomes_true(&format!("location.hash === {} && document.querySelector('form')", json!(address)))
            .await;
    }

    /// Puts a text into a field, as a person does.
    async fn fill(&mut self, id: &str, text: &str) {
        self.browser
            .eval(&format!("document.getElementById({0}).focus(), document.getElementById({0}).select?.()", json!(id)))
            .await;
        self.browser.enter(text).await;
    }

    async fn send(&mut self) {
        self.browser.eval("document.getElementById('said').textContent = ''").await;
        self.browser.press("Enter", true).await;
        self.browser.becomes_true("/^Answered \\d+\\.$/.test(document.getElementById('said').textContent)").await;
    }

    async fn text(&mut self, selector: &str) -> String {
        let text = self.browser.eval(&format!("document.querySelector({})?.textContent ?? ''", json!(selector))).await;
        text.as_str().unwrap().to_owned()
    }

    fn assert_clean(&self) {
        assert_eq!(self.browser.complaints(), [""; 0]);
    }
}

#[tokio::test]
async fn a_job_is_submitted_and_followed_by_keyboard_alone() {
    let Some(mut page) = Page::open().await else { return };
    let key = page.fleet.admin().create_key(&CreateKey::new("page", Scope::ALL.to_vec())).await.unwrap();
    page.browser.press("/", false).await;
    page.browser.becomes_true("document.activeElement.id === 'filter'").await;
    page.browser.enter("submit").await;
    page.browser.press("Enter", false).await;
    page.browser.becomes_true("location.hash === '#submit_job' && document.activeElement.id === 'main'").await;

    page.fill("body", r#"{"kind": "process", "process": {"command": ["echo", "<img src=x onerror=alert(1)>"]}}"#).await;
    page.send().await;
    assert_eq!(page.text("#status").await, "401");
    assert!(page.text(".problem").await.contains("A valid credential is needed"));

    page.fill("key", &key.key).await;
    page.fill("body", r#"{"kind": "process", "process": {"command": []}}"#).await;
    page.send().await;
    assert_eq!(page.text("#status").await, "422");
    assert!(page.text(".problem").await.contains("/process/command"));

    page.fill("body", r#"{"kind": "process", "process": {"command": ["echo", "<img src=x onerror=alert(1)>"]}}"#).await;
    page.send().await;
    assert_eq!(page.text("#status").await, "202", "{}", page.text("#answer").await);
    assert!(!page.text("#curl").await.contains(&key.key), "the command shows the credential");

    page.browser.eval("document.querySelector('#result a').click()").await;
    page.browser.becomes_true("document.querySelector('h1').textContent === 'Get job'").await;
    page.fill("p-wait_ms", "20000").await;
    page.send().await;
    assert!(page.text("#answer").await.contains("\"completed\""), "{}", page.text("#answer").await);

    let id = page.browser.eval("document.getElementById('p-id').value").await;
    page.go(&format!("#job_output&id={}", id.as_str().unwrap())).await;
    page.fill("p-Accept", "text/event-stream").await;
    page.send().await;
    let events = page.text("#answer").await;
    assert!(events.contains("<img src=x onerror=alert(1)>") && events.contains("event: end"), "{events}");
    assert_eq!(page.browser.eval("document.images.length").await, 0, "what a job wrote became markup");
    page.assert_clean();
}

#[tokio::test]
async fn output_is_shown_as_it_comes_until_somebody_stops_it() {
    let Some(mut page) = Page::open().await else { return };
    let client = page.fleet.client().await;
    let id: JobId = submit(&client, &shell("echo first; sleep 600")).await;
    let key = page.fleet.admin().create_key(&CreateKey::new("page", Scope::ALL.to_vec())).await.unwrap();
    page.fill("key", &key.key).await;
    page.go(&format!("#job_output&id={id}")).await;
    page.fill("p-Accept", "text/event-stream").await;
    page.browser.press("Enter", true).await;
    page.browser.becomes_true("document.getElementById('answer').textContent.includes('first')").await;
    assert!(page.text("#said").await.contains("the rest is coming"));
    page.browser.eval("document.getElementById('stop').click()").await;
    page.browser.becomes_true("document.getElementById('said').textContent === 'Stopped.'").await;
    client.cancel_job(&id).await.unwrap();
    ended(&client, &id).await;
    page.assert_clean();
}

#[tokio::test]
async fn every_operation_has_a_page_whose_fields_have_labels_and_nothing_comes_from_elsewhere() {
    let Some(mut page) = Page::open().await else { return };
    let links = page.browser.eval("[...document.querySelectorAll('nav li a')].map((link) => link.hash)").await;
    for link in links.as_array().unwrap() {
        page.go(link.as_str().unwrap()).await;
        let unnamed = "[...document.querySelectorAll('input, select, textarea, button')]\
             .filter((field) => !field.labels?.length && !field.textContent.trim()).map((field) => field.outerHTML)";
        assert_eq!(page.browser.eval(unnamed).await, json!([]), "{link}");
        page.browser.eval("document.querySelectorAll('details').forEach((part) => { part.open = true; })").await;
        assert!(page.text("h1").await.len() > 3);
    }
    let elsewhere = "performance.getEntriesByType('resource').map((entry) => entry.name)\
         .filter((name) => new URL(name).origin !== location.origin)";
    assert_eq!(page.browser.eval(elsewhere).await, json!([]));
    page.assert_clean();
    let forbidden = "fetch('http://127.0.0.2/').then(() => 'answered', () => 'forbidden')";
    assert_eq!(page.browser.eval(forbidden).await, "forbidden");
    let markup = "(() => { try { document.body.innerHTML = '<b>'; return 'taken' } catch { return 'forbidden' } })()";
    assert_eq!(page.browser.eval(markup).await, "forbidden");
    assert!(
        page.browser.complaints().iter().any(|c| c.contains("Content Security Policy")),
        "{:?}",
        page.browser.complaints()
    );
}

#[tokio::test]
async fn operations_stand_in_the_list_under_what_they_are_for() {
    let Some(mut page) = Page::open().await else { return };
    let groups = "Object.fromEntries([...document.querySelectorAll('nav li a')]\
         .map((link) => [link.hash.slice(1), link.closest('section').getAttribute('aria-label')]))";
    let groups = page.browser.eval(groups).await;
    for (operation, group) in [
        ("submit_job", "Jobs"),
        ("read_events", "Events"),
        ("chat_completions", "Inference"),
        ("request_inference", "Inference"),
        ("pull_model", "Inference"),
        ("list_agents", "Agents"),
        ("status", "Pool"),
        ("create_key", "Credentials"),
        ("agent_claim", "What agents call"),
        ("health", "About"),
    ] {
        assert_eq!(groups[operation], group, "{operation} in {groups}");
    }
}

#[tokio::test]
async fn the_page_is_dark_or_light_as_chosen_and_keeps_a_key_only_if_asked_to() {
    let Some(mut page) = Page::open().await else { return };
    let look = "[document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]";
    let before = page.browser.eval(look).await;
    page.browser.eval("document.getElementById('theme').click()").await;
    let after = page.browser.eval(look).await;
    assert!(before[0] != after[0] && before[1] != after[1], "{before} {after}");
    page.fill("key", "a-secret").await;
    let url = format!("{}/docs", page.fleet.coordinators[0].url());
    let reload = async |page: &mut Page| {
        page.browser.open("about:blank#").await;
        page.browser.open(&url).await;
        page.browser.becomes_true("document.querySelectorAll('nav li a').length > 20").await;
        page.browser.eval("document.getElementById('key').value").await
    };
    assert_eq!(reload(&mut page).await, Value::from(""));
    assert_eq!(page.browser.eval(look).await, after, "the choice was not kept");
    page.fill("key", "a-secret").await;
    page.browser.eval("document.getElementById('keep').click()").await;
    assert_eq!(reload(&mut page).await, Value::from("a-secret"));
    page.assert_clean();
}
