//! Requests for a resource that is served: which of its verbs they are, and the answer as a response.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::applying;
use super::core::Core;
use super::deleting::{self, Deleted};
use super::discovery;
use super::eviction;
use super::failure::Failure;
use super::listing;
use super::managed::Write;
use super::patching::Patch;
use super::render::Rendering;
use super::request::{self, Parameters, Target, WriteOptions};
use super::resources::{Resource, Scale};
use super::scale;
use super::serving::json_response;
use super::tokens;
use super::watching;
use super::writing::{self, Part, Sent, Written};

/// Says what a Scale is to be, from what it is.
type MakeScale<'a> = Box<dyn Fn(&Value) -> Result<Value, Failure> + 'a>;

/// A request for a resource that is served.
pub(super) struct Asked<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) parts: &'a Parts,
    pub(super) target: &'a Target,
    pub(super) query: &'a Parameters,
    pub(super) body: &'a Bytes,
    pub(super) resource: &'a Arc<Resource>,
}

impl Asked<'_> {
    pub(super) fn answer(&self) -> Result<Response, Failure> {
        let method = self.parts.method.as_str();
        let subresource = self.target.subresource.as_deref();
        match (method, self.target.name.is_some(), subresource) {
            ("GET" | "HEAD", _, None) if self.query.is_true("watch") => self.watch(),
            ("GET" | "HEAD", false, None) => self.list(),
            ("POST", false, None)
                if self.target.namespace.is_some() != self.resource.namespaced =>
            {
                Err(Failure::method_not_allowed())
            }
            ("POST", false, None) => self.create(),
            ("DELETE", false, None) => self.delete_collection(),
            ("GET" | "HEAD", true, None) => self.get(),
            ("PUT", true, None) => self.replace(Part::Main),
            ("PATCH", true, None) => self.patch(Part::Main),
            ("DELETE", true, None) => self.delete(),
            (_, _, Some("status")) if self.resource.status => match method {
                "GET" => self.get(),
                "PUT" => self.replace(Part::Status),
                "PATCH" => self.patch(Part::Status),
                _ => Err(Failure::method_not_allowed()),
            },
            (_, _, Some("scale")) => match &self.resource.scale {
                Some(scale) => self.scale(scale),
                None => Err(Failure::unknown_resource()),
            },
            ("PUT", _, Some("finalize")) if self.resource.is("", "Namespace") => {
                self.replace(Part::Finalize)
            }
            ("POST", true, Some("eviction")) if self.resource.is("", "Pod") => self.post(|sent| {
                eviction::evict(self.core, self.resource, self.target, self.query, sent)
            }),
            ("POST", true, Some("token")) if self.resource.is("", "ServiceAccount") => {
                self.post(|sent| tokens::answer(self.core, self.resource, self.target, sent))
            }
            (_, true, Some(part)) if self.resource.is("", "Pod") && discovery::is_of_pods(part) => {
                let (_, name) = self.target.key();
                self.get()?;
                Err(Failure::not_played(self.resource, &name, part))
            }
            (_, _, Some(_)) => Err(Failure::unknown_resource()),
            _ => Err(Failure::method_not_allowed()),
        }
    }

    fn rendering(&self) -> Rendering {
        let include = self.query.text("includeObject");
        Rendering::of(&self.parts.headers, include, &self.core.clock)
    }

    fn options(&self) -> Result<WriteOptions, Failure> {
        WriteOptions::of(self.query, &self.parts.headers)
    }

    fn sent(&self) -> Result<Sent, Failure> {
        let (object, duplicates) = request::body(self.resource, &self.parts.headers, self.body)?;
        Ok(Sent { object, duplicates })
    }

    fn respond(&self, code: StatusCode, text: Bytes) -> Response {
        if !self.rendering().yaml {
            return json_response(code, text);
        }
        let value: Value = serde_json::from_slice(&text).unwrap_or_default();
        let text = serde_saphyr::to_string(&value).unwrap_or_default();
        (code, [(header::CONTENT_TYPE, "application/yaml")], text).into_response()
    }

    fn watch(&self) -> Result<Response, Failure> {
        let wanted = listing::wanted(self.resource, self.target, self.query, self.rendering())?;
        Ok(match wanted {
            Ok(wanted) => watching::response(self.core.clone(), wanted),
            Err(failure) => watching::refused(&failure),
        })
    }

    fn list(&self) -> Result<Response, Failure> {
        let page = listing::page(self.core, self.resource, self.target, self.query)?;
        let objects = page.objects.iter().map(Arc::as_ref);
        let text = self
            .rendering()
            .list(self.resource, &page.metadata, objects);
        Ok(self.respond(StatusCode::OK, text))
    }

    fn get(&self) -> Result<Response, Failure> {
        let key = self.target.key();
        let object = self.core.object(self.resource, &key);
        let object = object.ok_or_else(|| Failure::not_found(self.resource, &key.1))?;
        let text = self.rendering().object(self.resource, &object);
        Ok(self.respond(StatusCode::OK, text))
    }

    fn written(&self, written: &Written) -> Response {
        let code = if written.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let text = self.rendering().object(self.resource, &written.object);
        let mut response = self.respond(code, text);
        warn(&mut response, &written.warnings);
        response
    }

    fn create(&self) -> Result<Response, Failure> {
        let options = self.options()?;
        let how = Write::update(&options, Part::Main);
        let sent = self.sent()?;
        let written = writing::create(self.core, self.resource, self.target, sent, &options, how)?;
        Ok(self.written(&written))
    }

    /// Has a body answered that is no object of the resource.
    fn post(
        &self,
        answer: impl FnOnce(&Value) -> Result<Value, Failure>,
    ) -> Result<Response, Failure> {
        let sent = request::plain_body(&self.parts.headers, self.body)?;
        let told = answer(&sent)?;
        Ok(self.respond(StatusCode::CREATED, told.to_string().into()))
    }

    fn replace(&self, part: Part) -> Result<Response, Failure> {
        let options = self.options()?;
        let sent = self.sent()?;
        let written =
            writing::replace(self.core, self.resource, self.target, part, &sent, &options)?;
        Ok(self.written(&written))
    }

    fn patch(&self, part: Part) -> Result<Response, Failure> {
        let options = self.options()?;
        let patch = Patch::read(self.resource, &self.parts.headers, self.body)?;
        let (core, resource, target) = (self.core, self.resource, self.target);
        let written = if let Patch::Apply(applied) = &patch {
            let named = !self.query.text("fieldManager").is_empty();
            applying::apply(core, resource, target, part, applied, named, &options)?
        } else {
            let how = Write::update(&options, part);
            writing::change(core, resource, target, part, &options, how, |before| {
                patch.apply(resource, before).map(|object| Sent {
                    object,
                    duplicates: Vec::new(),
                })
            })?
        };
        Ok(self.written(&written))
    }

    fn scale(&self, paths: &Scale) -> Result<Response, Failure> {
        let key = self.target.key();
        let object = self.core.object(self.resource, &key);
        let object = object.ok_or_else(|| Failure::not_found(self.resource, &key.1))?;
        let wanted: MakeScale<'_> = match self.parts.method.as_str() {
            "GET" | "HEAD" => {
                let told = self.rendering().scale(&scale::of(paths, &object.value));
                return Ok(self.respond(StatusCode::OK, told));
            }
            "PUT" => {
                let sent = self.sent()?.object;
                Box::new(move |_| Ok(sent.clone()))
            }
            "PATCH" => {
                let patch = Patch::read(self.resource, &self.parts.headers, self.body)?;
                Box::new(move |scale| patch.apply(self.resource, scale))
            }
            _ => return Err(Failure::method_not_allowed()),
        };
        let options = self.options()?;
        let how = Write::scale(&options);
        let (core, resource, target) = (self.core, self.resource, self.target);
        let written = writing::change(
            core,
            resource,
            target,
            Part::Main,
            &options,
            how,
            |before| {
                let wanted = wanted(&scale::of(paths, before))?;
                let mut object = before.clone();
                scale::apply(paths, &wanted, &mut object);
                if let Some(version) = wanted["metadata"].get("resourceVersion") {
                    object["metadata"]["resourceVersion"] = version.clone();
                }
                let duplicates = Vec::new();
                Ok(Sent { object, duplicates })
            },
        )?;
        let told = self
            .rendering()
            .scale(&scale::of(paths, &written.object.value));
        Ok(self.respond(StatusCode::OK, told))
    }

    fn delete_options(&self) -> Result<deleting::Options, Failure> {
        let body = request::plain_body(&self.parts.headers, self.body)?;
        deleting::Options::of(self.query, &body)
    }

    fn delete(&self) -> Result<Response, Failure> {
        let options = self.delete_options()?;
        let text = match deleting::delete(self.core, self.resource, self.target, &options)? {
            Deleted::Gone(object) if !deleting::answers_object(self.resource) => {
                deleting::success(self.resource, &object.value)
                    .to_string()
                    .into()
            }
            Deleted::Gone(object) | Deleted::Waiting(object) => {
                self.rendering().object(self.resource, &object)
            }
        };
        Ok(self.respond(StatusCode::OK, text))
    }

    fn delete_collection(&self) -> Result<Response, Failure> {
        if self.resource.is("", "Namespace") {
            return Err(Failure::method_not_allowed());
        }
        let options = self.delete_options()?;
        let page = listing::page(self.core, self.resource, self.target, self.query)?;
        for object in &page.objects {
            let (namespace, name) = super::store::key_of(&object.value);
            let target = Target {
                namespace: Some(namespace).filter(|n| !n.is_empty()),
                name: Some(name),
                ..self.target.clone()
            };
            match deleting::delete(self.core, self.resource, &target, &options) {
                Err(failure) if failure.code != 404 => return Err(failure),
                _ => {}
            }
        }
        let objects = page.objects.iter().map(Arc::as_ref);
        let text = self
            .rendering()
            .list(self.resource, &page.metadata, objects);
        Ok(self.respond(StatusCode::OK, text))
    }
}

fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
