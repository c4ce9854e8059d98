//! Forged, stale and misused tokens: none gets an agent's call through.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use titan_api::problem::ProblemType;
use tokio::net::TcpListener;

use crate::{
    agent::{Signer, TestAgent, now_s},
    world::{ADMIN, World, signing_keys},
};

/// The first block of the signing keys is Ed25519, the second RSA.
fn block(number: usize) -> String {
    let begin = signing_keys().match_indices("-----BEGIN").nth(number).unwrap().0;
    let end = signing_keys()[begin..].find("-----END PRIVATE KEY-----").unwrap() + begin;
    format!("{}-----END PRIVATE KEY-----\n", &signing_keys()[begin..end])
}

/// What a good token says.
fn claims() -> Value {
    let now = now_s();
    json!({
        "iss": "titan-coordinator", "aud": "titan-coordinator/agents", "sub": "box-1", "pool": "default", "epoch": 1,
        "iat": now, "exp": now + 3_600, "jti": "t",
    })
}

/// What a good token of this run says.
fn claims_of(agent: &TestAgent) -> Value {
    with("epoch", claims_in(&agent.token)["epoch"].clone())
}

fn claims_in(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Forges tokens with the coordinator's own keys.
struct Forge {
    kid: String,
    rsa_kid: String,
    public: Vec<u8>,
    pem: String,
}

impl Forge {
    async fn new(world: &World) -> Self {
        let jwks = world.get("", "/.well-known/jwks.json").await.ok(200);
        let key = |kty: &str| jwks["keys"].as_array().unwrap().iter().find(|k| k["kty"] == kty).unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            kid: text(&key("OKP")["kid"]),
            rsa_kid: text(&key("RSA")["kid"]),
            public: URL_SAFE_NO_PAD.decode(text(&key("OKP")["x"])).unwrap(),
            pem: world.get("", "/api/v1/public-key").await.body,
        }
    }

    fn header(&self) -> Header {
        let typ = Some("titan-agent+jwt".to_owned());
        Header { typ, kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) }
    }

    /// Signed with the right key.
    fn sign(header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_ed_pem(block(0).as_bytes()).unwrap()).unwrap()
    }

    /// Signed with the right key, under a header of any shape.
    fn sign_raw(header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", part(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_ed_pem(block(0).as_bytes()).unwrap();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    fn good(&self) -> String {
        Self::sign(&self.header(), &claims())
    }

    fn raw_header(&self, more: &[(&str, Value)]) -> Value {
        let mut header = json!({"alg": "EdDSA", "typ": "titan-agent+jwt", "kid": self.kid});
        for (name, value) in more {
            header[*name] = value.clone();
        }
        header
    }
}

async fn call(world: &World, token: &str) -> crate::world::Reply {
    let body = json!({"protocol": 1, "seq": 1, "last_claim": 0});
    world.post(token, "/api/v1/agents/box-1/heartbeat", body).await
}

async fn refused(world: &World, attacks: Vec<(&str, String)>) {
    TestAgent::register(world, "box-1").await;
    let before = world.redis.dump().await;
    for (name, token) in attacks {
        let reply = call(world, &token).await;
        assert_eq!(reply.status, 401, "{name}: {}", reply.body);
        reply.problem(ProblemType::Unauthorized);
    }
    assert_eq!(world.redis.dump().await, before, "a refused token changed something");
}

#[tokio::test]
async fn a_token_of_the_right_key_is_taken_within_the_leeway() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    let forge = Forge::new(&world).await;
    call(&world, &agent.token).await.ok(200);
    call(&world, &Forge::sign(&forge.header(), &claims_of(&agent))).await.ok(200);
    let late = json!({"iat": now_s() - 3_600, "exp": now_s() - 2});
    let mut claims = claims_of(&agent);
    claims.as_object_mut().unwrap().extend(late.as_object().unwrap().clone());
    call(&world, &Forge::sign(&forge.header(), &claims)).await.ok(200);
    let ignored =
        [("jku", json!("http://127.0.0.1:1/")), ("x5u", json!("http://127.0.0.1:1/")), ("jwk", json!({"kty": "x"}))];
    call(&world, &Forge::sign_raw(&forge.raw_header(&ignored), &claims_of(&agent).to_string())).await.ok(200);
}

#[tokio::test]
async fn of_a_token_that_was_just_signed_here_nothing_else_is_believed_for_its_sake() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    let [header, said, signature] = agent.token.split('.').collect::<Vec<_>>()[..] else { panic!("{}", agent.token) };
    let changed = |part: &str, at: usize| {
        let other = if part.as_bytes()[at] == b'A' { "B" } else { "A" };
        [&part[..at], other, &part[at + 1..]].concat()
    };
    let mut claims = claims_in(&agent.token);
    claims["pool"] = json!("another");
    let altered = vec![
        format!("{header}.{said}.{}", changed(signature, 0)),
        format!("{header}.{said}.{}", changed(signature, signature.len() - 1)),
        format!("{header}.{said}."),
        format!("{header}.{said}"),
        format!("{header}.{}.{signature}", part(&claims)),
        format!("{header}.{}.{signature}", changed(said, said.len() - 2)),
        format!("{}.{said}.{signature}", part(&json!({"alg": "none", "typ": "titan-agent+jwt"}))),
        format!("{}=", agent.token),
        format!("{}.{signature}", agent.token),
        agent.token.to_ascii_lowercase(),
    ];
    for token in altered {
        call(&world, &token).await.problem(ProblemType::Unauthorized);
    }
    call(&world, &agent.token).await.ok(200);
    let reply =
        world.post("", "/api/v1/agents/register", agent.registration("run-2", &agent.proof("run-2", now_s()))).await;
    let next = reply.ok(200)["token"]["token"].as_str().unwrap().to_owned();
    call(&world, &agent.token).await.problem(ProblemType::Superseded);
    call(&world, &next).await.ok(200);
}

#[tokio::test]
async fn tokens_of_another_algorithm_are_refused() {
    let world = World::start().await;
    let forge = Forge::new(&world).await;
    let mut attacks = Vec::new();
    for alg in ["none", "None", "nOnE", ""] {
        let header = forge.raw_header(&[("alg", json!(alg))]);
        attacks.push((alg, format!("{}.{}.", part(&header), part(&claims()))));
        attacks.push((alg, Forge::sign_raw(&header, &claims().to_string())));
    }
    let hmac = Header { alg: Algorithm::HS256, ..forge.header() };
    for secret in [forge.public.as_slice(), forge.pem.as_bytes()] {
        let token = jsonwebtoken::encode(&hmac, &claims(), &EncodingKey::from_secret(secret)).unwrap();
        attacks.push(("HS256 with the public key", token));
    }
    let rsa = EncodingKey::from_rsa_pem(block(1).as_bytes()).unwrap();
    for (alg, kid) in
        [(Algorithm::RS256, &forge.rsa_kid), (Algorithm::RS256, &forge.kid), (Algorithm::RS512, &forge.rsa_kid)]
    {
        let header = Header { alg, kid: Some(kid.clone()), ..forge.header() };
        attacks.push(("the RSA key", jsonwebtoken::encode(&header, &claims(), &rsa).unwrap()));
    }
    attacks.push(("ES256", Forge::sign_raw(&forge.raw_header(&[("alg", json!("ES256"))]), &claims().to_string())));
    refused(&world, attacks).await;
}

#[tokio::test]
async fn tokens_of_another_key_are_refused_and_no_key_is_fetched() {
    let world = World::start().await;
    let forge = Forge::new(&world).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bait = format!("http://{}/keys", listener.local_addr().unwrap());
    let own = Signer::new();
    let own_key = json!({"kty": "OKP", "crv": "Ed25519", "x": own.public});
    let mut attacks = vec![("no kid", own.sign("titan-agent+jwt", &claims()))];
    for kid in ["unknown", "../../x", "' OR 1", "", &forge.rsa_kid, &"k".repeat(3_000)] {
        attacks.push(("kid", Forge::sign_raw(&forge.raw_header(&[("kid", json!(kid))]), &claims().to_string())));
    }
    let no_kid = json!({"alg": "EdDSA", "typ": "titan-agent+jwt"});
    attacks.push(("the right key unnamed", Forge::sign_raw(&no_kid, &claims().to_string())));
    for (name, value) in [("jku", json!(bait)), ("x5u", json!(bait)), ("jwk", own_key), ("x5c", json!(["MA"]))] {
        let header = forge.raw_header(&[(name, value)]);
        let message = format!("{}.{}", part(&header), part(&claims()));
        let signature = own.sign("x", &json!({})).rsplit('.').next().unwrap().to_owned();
        attacks.push((name, format!("{message}.{signature}")));
    }
    refused(&world, attacks).await;
    let visited = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
    assert!(visited.is_err(), "a token made the coordinator call out");
}

#[tokio::test]
async fn tokens_with_wrong_claims_are_refused() {
    let world = World::start().await;
    let forge = Forge::new(&world).await;
    let now = now_s();
    let mut wrong = Vec::new();
    for name in ["iss", "aud", "sub", "pool", "epoch", "iat", "exp", "jti"] {
        wrong.push((name, without(name)));
        wrong.push((name, with(name, Value::Null)));
        wrong.push((name, with(name, json!(["titan-coordinator/agents"]))));
    }
    for value in
        [json!("x"), json!(1.5), json!(1e300), json!(-1), json!(now - 6), json!(now + 3_601), json!(now + 315_360_000)]
    {
        wrong.push(("exp", with("exp", value)));
    }
    for value in [json!(now + 3_000), json!("x"), json!(now - 86_400)] {
        wrong.push(("iat", with("iat", value)));
    }
    for value in [json!(now + 60), json!("x")] {
        wrong.push(("nbf", with("nbf", value)));
    }
    for (name, value) in [("iss", "titan"), ("aud", "titan-coordinator/register"), ("pool", "UPPER"), ("sub", "a b")] {
        wrong.push((name, with(name, json!(value))));
    }
    let attacks = wrong.into_iter().map(|(name, claims)| (name, Forge::sign(&forge.header(), &claims))).collect();
    refused(&world, attacks).await;
}

#[tokio::test]
async fn tokens_with_a_strange_header_or_form_are_refused() {
    let world = World::start().await;
    let forge = Forge::new(&world).await;
    let good = forge.good();
    let parts: Vec<&str> = good.split('.').collect();
    let raw = |more: &[(&str, Value)]| Forge::sign_raw(&forge.raw_header(more), &claims().to_string());
    let text = claims().to_string();
    let doubled = text.replacen('{', r#"{"sub":"box-2","#, 1);
    let deep = format!(r#"{{"alg":"EdDSA","x":{}1{}}}"#, "[".repeat(1_200), "]".repeat(1_200));
    let attacks = vec![
        ("typ JWT", raw(&[("typ", json!("JWT"))])),
        ("typ of a credential", raw(&[("typ", json!("titan-credential+jwt"))])),
        ("typ null", raw(&[("typ", Value::Null)])),
        ("crit", raw(&[("crit", json!(["x"]))])),
        ("crit null", raw(&[("crit", Value::Null)])),
        ("zip", raw(&[("zip", json!("DEF"))])),
        ("enc", raw(&[("enc", json!("A128GCM"))])),
        ("a claim twice", Forge::sign_raw(&forge.raw_header(&[]), &doubled)),
        ("a byte order mark", Forge::sign_raw(&forge.raw_header(&[]), &format!("\u{feff}{text}"))),
        ("a NUL", Forge::sign_raw(&forge.raw_header(&[]), &format!("{text}\0"))),
        ("a deep header", format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(deep), parts[1], parts[2])),
        ("another body", format!("{}.{}.{}", parts[0], part(&with("epoch", json!(2))), parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        ("padding", format!("{good}=")),
        ("not base64url", good.replace(parts[0], "e+/")),
        ("only dots", "..".to_owned()),
        ("too long", Forge::sign(&forge.header(), &with("more", json!("x".repeat(4_096))))),
    ];
    refused(&world, attacks).await;
}

#[tokio::test]
async fn credentials_of_other_kinds_are_refused_where_a_token_belongs() {
    let world = World::start().await;
    let (agent, other) = (TestAgent::register(&world, "box-1").await, TestAgent::register(&world, "box-2").await);
    call(&world, &agent.credential).await.problem(ProblemType::Unauthorized);
    call(&world, &agent.proof("run-1", now_s())).await.problem(ProblemType::Unauthorized);
    call(&world, &world.join_token(1).await).await.problem(ProblemType::Unauthorized);
    call(&world, ADMIN).await.problem(ProblemType::Forbidden);
    call(&world, &other.token).await.problem(ProblemType::Forbidden);
}

#[tokio::test]
async fn a_registration_needs_a_credential_of_this_coordinator_and_a_proof_made_for_it_now() {
    let world = World::start().await;
    let (agent, other) = (TestAgent::register(&world, "box-1").await, TestAgent::register(&world, "box-2").await);
    let before = world.redis.dump().await;
    let (aud, typ) = ("titan-coordinator/register", "titan-proof+jwt");
    let good = claims_in(&agent.proof("run-2", now_s()));
    let with = |name: &str, value: &str| {
        let mut claims = good.clone();
        claims[name] = json!(value);
        claims
    };
    for proof in [
        other.signer.sign(typ, &good),
        agent.signer.sign(typ, &with("sub", "box-2")),
        agent.signer.sign(typ, &with("jti", "run-3")),
        agent.signer.sign(typ, &with("aud", "another")),
        agent.signer.sign(typ, &with("aud", &format!("{aud}/"))),
        agent.signer.sign("JWT", &good),
        agent.token.clone(),
        agent.credential.clone(),
        "x".to_owned(),
    ] {
        let reply = world.post("", "/api/v1/agents/register", agent.registration("run-2", &proof)).await;
        reply.problem(ProblemType::Unauthorized);
    }
    for credential in
        [agent.token.clone(), agent.signer.sign("titan-credential+jwt", &json!({"sub": "box-1"})), "x".into()]
    {
        let mut body = agent.registration("run-2", &agent.proof("run-2", now_s()));
        body["credential"] = json!(credential);
        world.post("", "/api/v1/agents/register", body).await.problem(ProblemType::Unauthorized);
    }
    assert_eq!(world.redis.dump().await, before, "a refused registration changed something");
}

#[tokio::test]
async fn a_proof_that_was_made_for_another_deployment_is_worth_nothing_here() {
    let (here, there) = (World::start().await, World::start().await);
    let agent = TestAgent::register(&here, "box-1").await;
    // The same key under the same id, and even the signing keys of both deployments are the same.
    let wish = json!({"protocol": 1, "public_key": agent.signer.public, "agent_id": "box-1"});
    let joined = there.post(&there.join_token(1).await, "/api/v1/agents/join", wish).await.ok(200);
    let credential = joined["credential"].as_str().unwrap();
    let proof = agent.signer.proof(credential, "box-1", "run-2", now_s());
    let mut body = agent.registration("run-2", &proof);
    here.post("", "/api/v1/agents/register", body.clone()).await.problem(ProblemType::Unauthorized);
    body["credential"] = json!(credential);
    there.post("", "/api/v1/agents/register", body).await.ok(200);
}

#[tokio::test]
async fn an_agent_with_a_wrong_clock_is_told_the_time_and_gets_in_with_it() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    for hours in [-1, 1] {
        let proof = agent.proof("run-2", now_s() + hours * 3_600);
        let reply = world.post("", "/api/v1/agents/register", agent.registration("run-2", &proof)).await;
        let server_time_ms = reply.problem(ProblemType::ClockSkew).server_time_ms.unwrap();
        assert!((server_time_ms / 1_000 - now_s()).abs() <= 5);
        let proof = agent.proof("run-2", server_time_ms / 1_000);
        world.post("", "/api/v1/agents/register", agent.registration("run-2", &proof)).await.ok(200);
    }
}

#[tokio::test]
async fn the_keys_are_shown_so_that_anybody_can_check_what_they_signed() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    let forge = Forge::new(&world).await;
    let header = jsonwebtoken::decode_header(&agent.token).unwrap();
    assert_eq!((header.kid.as_deref(), header.typ.as_deref()), (Some(forge.kid.as_str()), Some("titan-agent+jwt")));
    let key = jsonwebtoken::DecodingKey::from_ed_pem(forge.pem.as_bytes()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["titan-coordinator/agents"]);
    let token = jsonwebtoken::decode::<Value>(&agent.token, &key, &rules).unwrap();
    assert_eq!(token.claims["exp"].as_i64().unwrap() - token.claims["iat"].as_i64().unwrap(), 3_600);
    let rsa_pem = &forge.pem[forge.pem.rfind("-----BEGIN").unwrap()..];
    jsonwebtoken::DecodingKey::from_rsa_pem(rsa_pem.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_token_in_the_second_half_of_its_life_is_renewed_by_a_heartbeat() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    assert!(agent.heartbeat(&world, json!({})).await.ok(200)["token"].is_null());
    let forge = Forge::new(&world).await;
    let mut old = claims_of(&agent);
    old["iat"] = json!(now_s() - 1_801);
    old["exp"] = json!(now_s() + 1_799);
    agent.token = Forge::sign(&forge.header(), &old);
    let fresh = agent.heartbeat(&world, json!({})).await.ok(200)["token"].clone();
    assert_eq!(fresh["expires_in_ms"], 3_600_000);
    agent.token = fresh["token"].as_str().unwrap().to_owned();
    assert!(agent.heartbeat(&world, json!({})).await.ok(200)["token"].is_null());
}
