//! What the API's description says of handlers that several addresses share: declaring targets and policies, and
//! deciding about what was found at a router.

use utoipa::Modify;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{Content, OpenApi, Ref, Required, Response, ResponseBuilder};

/// Adds their operations to the description.
pub(super) struct SharedHandlers;

/// What differs between the kinds.
struct Words {
    one: &'static str,
    path: &'static str,
    view: &'static str,
    in_post: &'static str,
    in_put: &'static str,
    after_put: &'static str,
    after_delete: &'static str,
}

const TARGET: Words = Words {
    one: "target",
    path: "/targets",
    view: "TargetView",
    in_post: "As an entry of the configuration's `targets`, with its name in the field `name`",
    in_put: "As an entry of the configuration's `targets`",
    after_put: "",
    after_delete: " One with a rollout is refused: roll it back first.",
};

const POLICY: Words = Words {
    one: "policy",
    path: "/policies",
    view: "PolicyView",
    in_post: "A policy without `extends`",
    in_put: "A policy of that name, without `extends`",
    after_put: " Rollouts keep the policy that they began with.",
    after_delete: " Rollouts keep the policy that they began with.",
};

impl Modify for SharedHandlers {
    fn modify(&self, document: &mut OpenApi) {
        [TARGET, POLICY].iter().for_each(|words| declared(document, words));
        decided(document, "adopt", "what the router has is the target split from now on.");
        decided(document, "zero", "the canary gets no traffic.");
    }
}

fn declared(document: &mut OpenApi, words: &Words) {
    let Words { one, path, .. } = words;
    let all = format!("/api/v1{path}");
    let single = format!("{all}/{{name}}");
    let post = applied(words, words.in_post)
        .operation_id(Some(format!("declare_{one}")))
        .summary(Some(format!("`POST {path}`: declares the {one} that the body names, or changes it.")));
    let put = applied(words, words.in_put)
        .operation_id(Some(format!("put_{one}")))
        .summary(Some(format!(
            "`PUT {path}/{{name}}`: declares the {one}, or changes it.{}",
            words.after_put
        )))
        .parameter(name());
    let delete = operation()
        .operation_id(Some(format!("delete_{one}")))
        .summary(Some(format!(
            "`DELETE {path}/{{name}}`: the {one} is not declared any more.{}",
            words.after_delete
        )))
        .parameter(name())
        .response("204", Response::new("It is not declared any more"));
    add(document, &all, HttpMethod::Post, post);
    add(document, &single, HttpMethod::Put, put);
    add(document, &single, HttpMethod::Delete, delete);
}

fn decided(document: &mut OpenApi, word: &str, what: &str) {
    let path = format!("/targets/{{name}}/{word}");
    let body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .content("application/json", Content::new(Some(Ref::from_schema_name("DecisionBody"))))
        .build();
    let operation = operation()
        .operation_id(Some(format!("{word}_target")))
        .summary(Some(format!("`POST {path}`: {what}")))
        .parameter(name())
        .request_body(Some(body))
        .response("200", answer("It is decided, and carried out at once", "TargetView"));
    add(document, &format!("/api/v1{path}"), HttpMethod::Post, operation);
}

fn add(document: &mut OpenApi, path: &str, method: HttpMethod, operation: OperationBuilder) {
    document.paths.add_path_operation(path, vec![method], Operation::from(operation));
}

fn operation() -> OperationBuilder {
    OperationBuilder::new().tag("configuration")
}

fn applied(words: &Words, body: &str) -> OperationBuilder {
    operation()
        .request_body(Some(document(body)))
        .response("200", answer("It was there and is as declared now", words.view))
        .response("201", answer("It is new", words.view))
}

fn answer(description: &str, view: &str) -> Response {
    let view = Content::new(Some(Ref::from_schema_name(view)));
    ResponseBuilder::new().description(description).content("application/json", view).build()
}

/// YAML, or JSON, which is YAML too.
fn document(description: &str) -> RequestBody {
    let of = |schema_type| Content::new(Some(Object::with_type(schema_type)));
    RequestBodyBuilder::new()
        .description(Some(description))
        .required(Some(Required::True))
        .content("application/json", of(Type::Object))
        .content("application/yaml", of(Type::String))
        .build()
}

/// The name in the path.
fn name() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(200))
        .pattern(Some("^[^/?#%]+$"))
        .build();
    ParameterBuilder::new()
        .name("name")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Its name"))
        .schema(Some(schema))
        .build()
}
