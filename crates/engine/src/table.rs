//! The path table: one list per engine, from which come routing, field decoding, 404 and 405, help and OpenAPI.

use std::future::Future;
use std::pin::Pin;

use api_types::{Map, Operation};
use audit::Permit;
use serde_json::Value;

use crate::{Call, EngineError, Field, Fields, Response};

/// A boxed future, so that engines can be held behind one type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a handler answers; `None` is "done, nothing to say" for writes and "nothing there" for reads.
pub type Outcome = Result<Option<Response>, EngineError>;

/// A handler that only decides, or one that waits for something outside.
pub enum Handler<E> {
    /// Reads and writes the view, nothing else.
    Sync(for<'c> fn(&E, &mut Call<'c>) -> Outcome),
    /// Talks to the world as well.
    Async(for<'a, 'c> fn(&'a E, &'a mut Call<'c>) -> BoxFuture<'a, Outcome>),
}

impl<E> Clone for Handler<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Handler<E> {}

/// One operation of a route.
pub struct Method<E> {
    /// The operation. `Update` also serves `Create` on routes without an existence check.
    pub operation: Operation,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The code.
    pub handler: Handler<E>,
}

/// One pattern with its operations.
///
/// A pattern is a path of literal segments and captures: `{name}` takes one segment made of word characters, `.` and `-`
/// that begins and ends with a word character; `{name:any}` takes one segment of anything; `{name...}` takes the rest, at
/// least one character; `{name...?}` takes the rest, possibly nothing. A trailing `/?` makes the last slash optional. After
/// `{name...}` one last literal may follow (`mounts/{path...}/tune`); such a route stands before the one without it.
pub struct Route<E> {
    /// The pattern, below the mount.
    pub pattern: &'static str,
    /// Declared fields, captures included.
    pub fields: &'static [Field],
    /// Tells `create` from `update`; without it every write is an update.
    pub exists: Option<for<'c> fn(&E, &mut Call<'c>) -> Result<bool, EngineError>>,
    /// The operations.
    pub methods: Vec<Method<E>>,
    /// First line of the help text.
    pub synopsis: &'static str,
    /// The rest of the help text.
    pub description: &'static str,
    /// Take undeclared fields as they are and do not warn of them (KV v1, cubbyhole).
    pub free_form: bool,
}

impl<E> Route<E> {
    /// A route without operations.
    #[must_use]
    pub fn new(pattern: &'static str, fields: &'static [Field], synopsis: &'static str) -> Self {
        Self { pattern, fields, exists: None, methods: Vec::new(), synopsis, description: "", free_form: false }
    }

    /// Adds an operation that only decides.
    #[must_use]
    pub fn on(mut self, operation: Operation, summary: &'static str, f: for<'c> fn(&E, &mut Call<'c>) -> Outcome) -> Self {
        self.methods.push(Method { operation, summary, handler: Handler::Sync(f) });
        self
    }

    /// Adds an operation that waits for something outside.
    #[must_use]
    pub fn on_async(
        mut self,
        operation: Operation,
        summary: &'static str,
        f: for<'a, 'c> fn(&'a E, &'a mut Call<'c>) -> BoxFuture<'a, Outcome>,
    ) -> Self {
        self.methods.push(Method { operation, summary, handler: Handler::Async(f) });
        self
    }

    /// Adds the existence check.
    #[must_use]
    pub fn exists(mut self, f: for<'c> fn(&E, &mut Call<'c>) -> Result<bool, EngineError>) -> Self {
        self.exists = Some(f);
        self
    }

    /// Adds the longer help text.
    #[must_use]
    pub fn help(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Takes undeclared fields.
    #[must_use]
    pub fn free_form(mut self) -> Self {
        self.free_form = true;
        self
    }

    fn method(&self, operation: Operation) -> Option<&Method<E>> {
        self.methods.iter().find(|m| m.operation == operation).or_else(|| match operation {
            Operation::Create => self.methods.iter().find(|m| m.operation == Operation::Update),
            Operation::Update => self.methods.iter().find(|m| m.operation == Operation::Create),
            _ => None,
        })
    }
}

/// All routes of an engine, tried in order.
pub struct PathTable<E> {
    routes: Vec<(Vec<Segment>, Route<E>)>,
    /// The help text of the mount's root.
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Segment {
    Literal(&'static str),
    Word(&'static str),
    Any(&'static str),
    Rest(&'static str),
    RestOrNothing(&'static str),
    OptionalSlash,
}

type Captures = Vec<(&'static str, String)>;

impl<E> PathTable<E> {
    /// Compiles the patterns.
    #[must_use]
    pub fn new(help: &'static str, routes: Vec<Route<E>>) -> Self {
        Self { routes: routes.into_iter().map(|r| (compile(r.pattern), r)).collect(), help }
    }

    /// The routes in order, for help, OpenAPI and tests that enumerate every endpoint.
    pub fn routes(&self) -> impl Iterator<Item = &Route<E>> {
        self.routes.iter().map(|(_, r)| r)
    }

    fn resolve(&self, path: &str) -> Option<(&Route<E>, Captures)> {
        self.routes.iter().find_map(|(pattern, route)| Some((route, matches(pattern, path)?)))
    }
}

fn compile(pattern: &'static str) -> Vec<Segment> {
    let (body, optional) = match pattern.strip_suffix("/?") {
        Some(body) => (body, true),
        None => (pattern, false),
    };
    let mut out: Vec<Segment> = body
        .split('/')
        .map(|part| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            None => Segment::Literal(part),
            Some(name) => match (name.strip_suffix("...?"), name.strip_suffix("..."), name.strip_suffix(":any")) {
                (Some(n), _, _) => Segment::RestOrNothing(n),
                (_, Some(n), _) => Segment::Rest(n),
                (_, _, Some(n)) => Segment::Any(n),
                _ => Segment::Word(name),
            },
        })
        .collect();
    if optional {
        out.push(Segment::OptionalSlash);
    }
    out
}

fn matches(pattern: &[Segment], path: &str) -> Option<Captures> {
    let mut captures = Captures::new();
    let mut rest = Some(path);
    for (i, segment) in pattern.iter().enumerate() {
        if let Segment::OptionalSlash = segment {
            return matches!(rest, None | Some("")).then_some(captures);
        }
        if let Segment::RestOrNothing(name) = segment {
            captures.push((name, rest.unwrap_or_default().to_owned()));
            return Some(captures);
        }
        let here = rest?;
        if let Segment::Rest(name) = segment {
            let end = match pattern.get(i + 1) {
                Some(Segment::OptionalSlash) => here.trim_end_matches('/'),
                Some(Segment::Literal(last)) => here.strip_suffix(last)?.strip_suffix('/')?,
                _ => here,
            };
            return (!end.is_empty()).then(|| {
                captures.push((name, end.to_owned()));
                captures
            });
        }
        let (part, after) = match here.split_once('/') {
            Some((part, after)) => (part, Some(after)),
            None => (here, None),
        };
        match segment {
            Segment::Literal(text) if *text == part => {}
            Segment::Word(name) if is_word(part) => captures.push((name, part.to_owned())),
            Segment::Any(name) if !part.is_empty() => captures.push((name, part.to_owned())),
            _ => return None,
        }
        rest = after;
    }
    rest.is_none().then_some(captures)
}

/// Vault's generic name: `\w(([\w-.]+)?\w)?`.
fn is_word(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word) && text.ends_with(word) && text.chars().all(|c| word(c) || c == '-' || c == '.')
}

/// A secrets engine or auth method.
pub trait Engine: Send + Sync + Sized + 'static {
    /// The type it is mounted as.
    const TYPE: &'static str;

    /// Its paths.
    fn table(&self) -> &PathTable<Self>;

    /// Renews a login (`auth` as it was issued, with its `internal` data) or refuses. The default allows.
    fn renew_login(&self, _call: &mut Call<'_>, _auth: &mut crate::Auth) -> Result<(), EngineError> {
        Ok(())
    }

    /// The role that a login would be of, for quotas by role; nothing is checked or changed. The default is what clients send as
    /// `role`.
    fn login_role(&self, call: &mut Call<'_>) -> Result<Option<String>, EngineError> {
        Ok(call.request.data.get("role").and_then(Value::as_str).map(str::to_owned))
    }

    /// Renews a leased secret; the default says that it cannot.
    fn renew_secret<'a>(&'a self, _call: &'a mut Call<'_>, _internal: &'a Map) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Err(EngineError::invalid("lease is not renewable")) })
    }

    /// Undoes a leased secret; the default has nothing to undo.
    fn revoke_secret<'a>(&'a self, _call: &'a mut Call<'_>, _internal: &'a Map) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async { Ok(()) })
    }
}

/// An engine behind one type: what the mount table holds. Implemented for every [`Engine`].
pub trait Backend: Send + Sync {
    /// The type it is mounted as.
    fn mount_type(&self) -> &'static str;

    /// Whether the operation finds something at the path: `None` if the route has no such check.
    fn exists(&self, call: &mut Call<'_>) -> Result<Option<bool>, EngineError>;

    /// Serves the call. `call.fields` is filled here from the route's declaration, unless [`Backend::exists`] has filled it
    /// for this very request.
    fn handle<'a>(&'a self, permit: &'a Permit, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome>;

    /// Whether reads and listings only look at their transaction, and talk to nobody.
    fn reads_quietly(&self) -> bool;

    /// Help for a path, or for the whole mount when the path is empty: text and OpenAPI fragment.
    fn help(&self, path: &str) -> Option<Value>;

    /// The OpenAPI `paths` object of this engine, below `prefix`.
    fn openapi_paths(&self, prefix: &str) -> Map;

    /// Every pattern with its operations, for tests that enumerate.
    fn patterns(&self) -> Vec<(&'static str, Vec<Operation>)>;

    /// See [`Engine::renew_login`].
    fn renew_login(&self, call: &mut Call<'_>, auth: &mut crate::Auth) -> Result<(), EngineError>;

    /// See [`Engine::login_role`].
    fn login_role(&self, call: &mut Call<'_>) -> Result<Option<String>, EngineError>;

    /// See [`Engine::renew_secret`].
    fn renew_secret<'a>(&'a self, call: &'a mut Call<'_>, internal: &'a Map) -> BoxFuture<'a, Outcome>;

    /// See [`Engine::revoke_secret`].
    fn revoke_secret<'a>(&'a self, call: &'a mut Call<'_>, internal: &'a Map) -> BoxFuture<'a, Result<(), EngineError>>;
}

impl<E: Engine> Backend for E {
    fn mount_type(&self) -> &'static str {
        E::TYPE
    }

    fn exists(&self, call: &mut Call<'_>) -> Result<Option<bool>, EngineError> {
        let Some((route, captures)) = self.table().resolve(call.path) else { return Ok(None) };
        let Some(check) = route.exists else { return Ok(None) };
        // Vault decodes the body here already, so on these routes a wrong type is refused before the policy check and
        // without the words "Field validation failed".
        call.fields = Fields::decode(route.fields, &captures, &call.request.data)?;
        check(self, call).map(Some)
    }

    fn handle<'a>(&'a self, _permit: &'a Permit, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
        serve(self, call)
    }

    fn reads_quietly(&self) -> bool {
        let talks =
            |m: &Method<E>| matches!(m.operation, Operation::Read | Operation::List) && matches!(m.handler, Handler::Async(_));
        !self.table().routes().any(|route| route.methods.iter().any(talks))
    }

    fn help(&self, path: &str) -> Option<Value> {
        let table = self.table();
        let text = if path.is_empty() {
            let mut out = format!(
                "## DESCRIPTION\n\n{}\n\n## PATHS\n\nThe following paths are supported by this backend. To view help for\nany of the paths below, use the help command with any route matching\nthe path pattern. Note that depending on the policy of your auth token,\nyou may or may not be able to access certain paths.\n\n",
                table.help
            );
            for route in table.routes() {
                out.push_str(&format!("    ^{}$\n        {}\n\n", route.pattern, route.synopsis));
            }
            out
        } else {
            let (route, _) = table.resolve(path)?;
            let mut out = format!("Request:        {path}\nMatching Route: ^{}$\n\n{}\n\n", route.pattern, route.synopsis);
            if !route.fields.is_empty() {
                out.push_str("## PARAMETERS\n\n");
            }
            for field in route.fields {
                out.push_str(&format!("    {} ({})\n\n        {}\n\n", field.name, openapi_type(field).0, field.description));
            }
            if !route.description.is_empty() {
                out.push_str(&format!("## DESCRIPTION\n\n{}\n", route.description));
            }
            out
        };
        let mut paths = self.openapi_paths("");
        if !path.is_empty() {
            let (route, _) = table.resolve(path)?;
            let key = openapi_path("", route.pattern);
            paths.retain(|k, _| *k == key);
        }
        Some(serde_json::json!({ "help": text, "see_also": null, "openapi": {
            "openapi": "3.0.2",
            "info": { "title": "Strongroom API", "description": "HTTP API of this mount.", "version": api_types::API_VERSION,
                      "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" } },
            "paths": paths,
            "components": { "schemas": {} } } }))
    }

    fn openapi_paths(&self, prefix: &str) -> Map {
        self.table().routes().map(|route| (openapi_path(prefix, route.pattern), openapi_item(route))).collect()
    }

    fn patterns(&self) -> Vec<(&'static str, Vec<Operation>)> {
        self.table().routes().map(|r| (r.pattern, r.methods.iter().map(|m| m.operation).collect())).collect()
    }

    fn renew_login(&self, call: &mut Call<'_>, auth: &mut crate::Auth) -> Result<(), EngineError> {
        Engine::renew_login(self, call, auth)
    }

    fn login_role(&self, call: &mut Call<'_>) -> Result<Option<String>, EngineError> {
        Engine::login_role(self, call)
    }

    fn renew_secret<'a>(&'a self, call: &'a mut Call<'_>, internal: &'a Map) -> BoxFuture<'a, Outcome> {
        Engine::renew_secret(self, call, internal)
    }

    fn revoke_secret<'a>(&'a self, call: &'a mut Call<'_>, internal: &'a Map) -> BoxFuture<'a, Result<(), EngineError>> {
        Engine::revoke_secret(self, call, internal)
    }
}

/// Resolves, decodes and calls. Only [`Backend::handle`], which demands a permit, and the test harness come here.
pub(crate) fn serve<'a, E: Engine>(engine: &'a E, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    let Some((route, captures)) = engine.table().resolve(call.path) else {
        return Box::pin(std::future::ready(Err(EngineError::UnsupportedPath)));
    };
    let Some(method) = route.method(call.operation) else {
        return Box::pin(std::future::ready(Err(EngineError::UnsupportedOperation)));
    };
    if !call.fields.are_decoded() {
        match Fields::decode(route.fields, &captures, &call.request.data) {
            Ok(fields) => call.fields = fields,
            Err(EngineError::Invalid(text)) => {
                return Box::pin(std::future::ready(Err(EngineError::Invalid(format!("Field validation failed: {text}")))));
            }
            Err(e) => return Box::pin(std::future::ready(Err(e))),
        }
    }
    let surplus = surplus_warnings(route, &captures, &call.request.data, call.operation);
    match method.handler {
        Handler::Sync(f) => {
            let outcome = f(engine, call);
            Box::pin(std::future::ready(warned(outcome, surplus)))
        }
        Handler::Async(f) => {
            let answer = f(engine, call);
            Box::pin(async move { warned(answer.await, surplus) })
        }
    }
}

fn surplus_warnings<E>(route: &Route<E>, captures: &Captures, data: &Map, operation: Operation) -> Vec<String> {
    if route.free_form || !operation.is_write() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let ignored: Vec<&str> = data.keys().map(String::as_str).filter(|k| !route.fields.iter().any(|f| f.name == *k)).collect();
    if !ignored.is_empty() {
        out.push(format!("Endpoint ignored these unrecognized parameters: [{}]", ignored.join(" ")));
    }
    let replaced: Vec<&str> = captures.iter().map(|(n, _)| *n).filter(|n| data.contains_key(*n)).collect();
    if !replaced.is_empty() {
        out.push(format!(
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [{}]",
            replaced.join(" ")
        ));
    }
    out
}

fn warned(outcome: Outcome, warnings: Vec<String>) -> Outcome {
    let mut response = outcome?;
    if let Some(r) = response.as_mut() {
        r.warnings.extend(warnings);
    }
    Ok(response)
}

fn openapi_path(prefix: &str, pattern: &str) -> String {
    let plain = pattern.trim_end_matches('?').replace("...?", "").replace("...", "").replace(":any", "");
    format!("/{prefix}{plain}")
}

fn openapi_type(field: &Field) -> (&'static str, Option<&'static str>) {
    use crate::FieldKind as K;
    match field.kind {
        K::String | K::LowerString => ("string", None),
        K::Bool => ("boolean", None),
        K::Int => ("integer", None),
        K::Float => ("number", None),
        K::DurationSecond | K::SignedDuration => ("integer", Some("seconds")),
        K::CommaStringSlice | K::StringSlice | K::CommaIntSlice => ("array", None),
        K::KeyValuePairs | K::Map | K::Any => ("object", None),
    }
}

fn openapi_schema(field: &Field) -> Value {
    let (kind, format) = openapi_type(field);
    let mut schema = serde_json::json!({ "type": kind, "description": field.description });
    if let (Some(map), Some(f)) = (schema.as_object_mut(), format) {
        map.insert("format".into(), f.into());
    }
    if let (Some(map), "array") = (schema.as_object_mut(), kind) {
        let item = if matches!(field.kind, crate::FieldKind::CommaIntSlice) { "integer" } else { "string" };
        map.insert("items".into(), serde_json::json!({ "type": item }));
    }
    schema
}

fn openapi_item<E>(route: &Route<E>) -> Value {
    let in_path = |f: &&Field| {
        [format!("{{{}}}", f.name), format!("{{{}...", f.name), format!("{{{}:any}}", f.name)]
            .iter()
            .any(|p| route.pattern.contains(p.as_str()))
    };
    let parameters: Vec<Value> = route
        .fields
        .iter()
        .filter(in_path)
        .map(|f| serde_json::json!({ "name": f.name, "in": "path", "required": true, "description": f.description, "schema": { "type": "string" } }))
        .collect();
    let body: Map = route.fields.iter().filter(|f| !in_path(f)).map(|f| (f.name.to_owned(), openapi_schema(f))).collect();
    let mut item = Map::new();
    item.insert("description".into(), route.synopsis.into());
    if !parameters.is_empty() {
        item.insert("parameters".into(), Value::Array(parameters));
    }
    for method in &route.methods {
        let verb = match method.operation {
            Operation::Read | Operation::List => "get",
            Operation::Delete => "delete",
            Operation::Patch => "patch",
            Operation::Create | Operation::Update => "post",
            _ => continue,
        };
        let mut op = serde_json::json!({ "summary": method.summary, "responses": { "200": { "description": "OK" } } });
        if let Some(map) = op.as_object_mut() {
            if method.operation == Operation::List {
                map.insert("parameters".into(), serde_json::json!([{ "name": "list", "in": "query", "required": true, "schema": { "type": "string", "enum": ["true"] } }]));
            }
            if matches!(verb, "post" | "patch") && !body.is_empty() {
                map.insert("requestBody".into(), serde_json::json!({ "content": { "application/json": { "schema": { "type": "object", "properties": body } } } }));
            }
        }
        item.entry(verb).or_insert(op);
    }
    Value::Object(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &'static str, path: &str) -> Option<Vec<String>> {
        matches(&compile(pattern), path).map(|c| c.into_iter().map(|(n, v)| format!("{n}={v}")).collect())
    }

    #[test]
    fn patterns_take_what_they_say_and_no_more() {
        for (pattern, path, want) in [
            ("config", "config", Some(vec![])),
            ("config", "config/", None),
            ("config", "confi", None),
            ("role/{name}", "role/app-1.x", Some(vec!["name=app-1.x"])),
            ("role/{name}", "role/-app", None),
            ("role/{name}", "role/", None),
            ("role/{name}", "role/a/b", None),
            ("role/?", "role", Some(vec![])),
            ("role/?", "role/", Some(vec![])),
            ("role/?", "role/x", None),
            ("data/{path...}", "data/a/b", Some(vec!["path=a/b"])),
            ("data/{path...}", "data/", None),
            ("data/{path...}", "data", None),
            ("metadata/{path...?}", "metadata/", Some(vec!["path="])),
            ("metadata/{path...?}", "metadata", Some(vec!["path="])),
            ("metadata/{path...?}", "metadata/a/", Some(vec!["path=a/"])),
            ("x/{a:any}/y", "x/ä b/y", Some(vec!["a=ä b"])),
            ("mounts/{path...}/?", "mounts/a/b/", Some(vec!["path=a/b"])),
            ("mounts/{path...}/tune", "mounts/a/b/tune", Some(vec!["path=a/b"])),
            ("mounts/{path...}/tune", "mounts/tune/tune", Some(vec!["path=tune"])),
            ("mounts/{path...}/tune", "mounts/tune", None),
            ("mounts/{path...}/tune", "mounts//tune", None),
            ("mounts/{path...}/tune", "mounts/a/fortune", None),
            ("mounts/{path...}/tune", "mounts/a/tune/", None),
            ("{path...?}", "", Some(vec!["path="])),
        ] {
            let want = want.map(|v: Vec<&str>| v.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(captured(pattern, path), want, "{pattern} on {path}");
        }
    }
}
