//! `openapi.json` (`OpenAPI` 3.1), made from the handlers and the types that they take and give.

use titan_api::{
    events::EventGap,
    output::{OutputAttempt, OutputEnd, OutputGap},
    problem::Problem,
};
use utoipa::{
    OpenApi,
    openapi::{
        Components, Content, ObjectBuilder, Ref, RefOr, ResponseBuilder,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::openai::{self, OpenAiFailure};

/// The credentials that routes ask for, by the name that `security` uses.
const SCHEMES: [(&str, &str); 4] = [
    (
        "admin",
        "The administrator's token. It may use every route of clients in every pool; X-Titan-Pool names the pool.",
    ),
    ("api_key", "An API key, which is for one pool. The scopes that a route needs are listed with it."),
    ("agent", "An agent's token: it may act as that one agent."),
    ("join_token", "A join token: it lets one agent, or a counted number, join one pool."),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "TitanCompute coordinator",
        description = "One pool of GPU boxes: jobs in, output out; requests to models in, answers out. Failures are problem documents (RFC 9457) with stable types; those of the routes under /v1 have OpenAI's shape.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem, OpenAiFailure, OutputAttempt, OutputGap, OutputEnd, EventGap))
)]
struct Base;

/// The document without any route.
pub(crate) fn base() -> utoipa::openapi::OpenApi {
    let mut document = Base::openapi();
    let components = document.components.get_or_insert_with(Components::new);
    for (name, text) in SCHEMES {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text)).build();
        components.add_security_scheme(name, SecurityScheme::Http(scheme));
    }
    document
}

/// Says of every route that whatever else it answers is a problem, in OpenAI's shape where it speaks that, and of those that
/// serve the administrator that `X-Titan-Pool` names the pool. What the standard wants and the handlers do not say is added:
/// paths without the router's mark for the rest of a path, and a description of each response.
pub(crate) fn completed(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (documented(&path), item)).collect();
    for (path, item) in &mut document.paths.paths {
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten() {
            let (kind, schema) = if openai::speaks(path) {
                ("application/json", "OpenAiFailure")
            } else {
                (titan_api::problem::CONTENT_TYPE, "Problem")
            };
            let content = Content::new(Some(Ref::from_schema_name(schema)));
            let problem = ResponseBuilder::new().description("What went wrong").content(kind, content);
            operation.responses.responses.insert("default".to_owned(), problem.build().into());
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    "What was asked for".clone_into(&mut response.description);
                }
            }
            if matches!(operation.tags.as_deref(), Some([tag, ..]) if ["clients", "administrators", "inference"].contains(&tag.as_str()))
            {
                operation.parameters.get_or_insert_default().push(pool_parameter().into());
            }
        }
    }
    document
}

/// A path of the router as the document has it.
pub(crate) fn documented(path: &str) -> String {
    path.replace("{*", "{")
}

fn pool_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("X-Titan-Pool")
        .parameter_in(ParameterIn::Header)
        .description(Some("The administrator names the pool by it; `default` without it. An API key is for one pool"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// The whole document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    crate::routes::table().1
}
