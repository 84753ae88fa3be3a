//! Who asks, and whether they may: both APIs are checked here before a call is begun.
//!
//! Two steps. [`door`] wraps the whole router and learns from the header who asks: nobody gets further without a user and
//! their password, whichever call or path it is, also one that does not exist. Then, once the request is read,
//! [`Proxy::check`] holds what it is about against the policy; [`decide`] is that decision, and pure. Calls between nodes
//! have a port and a protection of their own. Who came in there and makes calls of Milvus's API is an [`administrator`].

mod audit;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod header;
mod password;
pub mod table;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use contract::settings::Secret;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use audit::Outcome;
use header::Said;
pub use header::decode;
use password::{Passwords, Stored};
use table::{Rule, Target};

use super::api::Caller;
use super::{Error, Proxy};
use crate::base::{Clock, Kind, Kinded};
use crate::model::access::{Object, PasswordHash, Policy, ROOT, Wanted};
use crate::rpc::{self, Coord};

/// Cost of a new hash of a password; each step doubles its time. Source: the one that Milvus's hashes have.
const COST: u32 = 10;

/// Names of users are shorter. Unit: bytes.
const LONGEST_NAME: usize = 256;

/// How users are checked.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// Whether at all.
    pub enabled: bool,
    /// Root's password until it is given another one.
    pub root_password: Secret,
    /// Users who may set passwords without saying the old one.
    pub super_users: Vec<String>,
    /// Whether root, too, may do only what its roles may.
    pub root_binds_roles: bool,
    /// Whether every user may look at what there is.
    pub public: bool,
    /// Whether it is logged who did what.
    pub audit: bool,
    /// Cost of new hashes.
    pub cost: u32,
}

impl Default for AccessSettings {
    /// As Milvus: nobody is checked.
    fn default() -> Self {
        Self {
            enabled: false,
            root_password: Secret::new("Milvus".to_owned()),
            super_users: Vec::new(),
            root_binds_roles: false,
            public: true,
            audit: false,
            cost: COST,
        }
    }
}

/// Who asks over the port of calls between nodes, as logs name it.
const OPERATOR: &str = "operator";

/// Somebody who is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: Arc<str>,
    /// What the user may do.
    pub rights: Rights,
}

/// What somebody who is known may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// What their roles may.
    OfRoles,
    /// Everything: who they are was shown by other means than a password, and no role of the catalog counts.
    All,
}

impl Login {
    /// A user of the catalog.
    pub fn user(name: impl Into<Arc<str>>) -> Self {
        Self { user: name.into(), rights: Rights::OfRoles }
    }

    /// Whoever holds the token or a certificate of the cluster.
    fn operator() -> Self {
        Self { user: OPERATOR.into(), rights: Rights::All }
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Why somebody gets no further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The header is not there.
    #[error("missing authorization in header")]
    Nothing,
    /// No such user, or not their password.
    #[error("auth check failure, please check username and password are correct")]
    Password,
    /// It has no password in it.
    #[error("auth check failure, please check api key is correct")]
    Key,
    /// The user is known and may not do this.
    #[error("Privilege{privilege}: permission deny to {user} in the `{database}` database")]
    Denied {
        /// What it takes.
        privilege: &'static str,
        /// Who asked.
        user: String,
        /// Where.
        database: String,
    },
    /// The user is known and no administrator.
    #[error("only administrators may do this, and {user} is none")]
    NoAdministrator {
        /// Who asked.
        user: String,
    },
    /// It cannot be seen now who may do what.
    #[error("cannot see who may do what: {0}")]
    Away(rpc::Error),
}

impl Kinded for Refused {
    fn kind(&self) -> Kind {
        match self {
            Self::Away(error) => error.kind(),
            _ => Kind::Denied,
        }
    }
}

impl Refused {
    /// The answer over gRPC. One of the few that are an error of gRPC itself.
    pub fn status(&self) -> tonic::Status {
        let text = self.to_string();
        match self {
            Self::Nothing | Self::Password | Self::Key => tonic::Status::unauthenticated(text),
            Self::Denied { .. } | Self::NoAdministrator { .. } => tonic::Status::permission_denied(text),
            // Clients try again for a while, which is what they should.
            Self::Away(_) => tonic::Status::unavailable(text),
        }
    }

    /// Milvus's code over REST.
    pub const fn code(&self) -> i32 {
        match self {
            Self::Nothing | Self::Password | Self::Key => 1800,
            Self::Denied { .. } | Self::NoAdministrator { .. } => 1401,
            Self::Away(_) => 2,
        }
    }

    /// The answer over REST.
    pub fn json(&self) -> Response {
        let (status, text) = match self {
            Self::Nothing | Self::Password | Self::Key => {
                (StatusCode::UNAUTHORIZED, "user hasn't authenticated".to_owned())
            }
            Self::Denied { .. } | Self::NoAdministrator { .. } => (StatusCode::FORBIDDEN, self.to_string()),
            Self::Away(_) => (StatusCode::SERVICE_UNAVAILABLE, self.to_string()),
        };
        let code = self.code();
        let mut answer = (status, json!({ "code": code, "message": text }).to_string()).into_response();
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }
}

/// Whether `user` may make a call of this rule about this target. Pure.
///
/// # Errors
/// [`Refused::Denied`] if not.
pub fn decide(
    rule: Rule,
    target: &Target,
    user: &str,
    policy: &Policy,
    settings: &AccessSettings,
) -> Result<(), Refused> {
    let Some((object, privilege)) = rule.needs else { return Ok(()) };
    if user == ROOT && !settings.root_binds_roles {
        return Ok(());
    }
    let Target { database, names } = target;
    let may = |name: &str| {
        // What a request has only the number of may be in any database.
        let database = if name.is_empty() && object == Object::Collection { "" } else { database };
        policy.permits(user, Wanted { object, privilege, database, name }, settings.public)
    };
    let all = if names.is_empty() { may("") } else { names.iter().all(|name| may(name)) };
    if all {
        return Ok(());
    }
    Err(Refused::Denied { privilege, user: user.to_owned(), database: database.clone() })
}

/// What a caller is shown of lists.
#[derive(Debug)]
pub struct View {
    /// Who looks and what counts; `None` for who sees everything.
    limited: Option<(Arc<Policy>, Arc<str>)>,
}

impl View {
    /// Whether a database, and a collection of it if one is named, is shown.
    pub fn shows(&self, database: &str, collection: Option<&str>) -> bool {
        self.limited.as_ref().is_none_or(|(policy, user)| policy.shows(user, database, collection))
    }
}

/// Everything that checks need beside the policy.
pub struct Access {
    /// How users are checked.
    pub settings: AccessSettings,
    passwords: Passwords,
}

impl Access {
    /// Checks as `settings` say.
    #[must_use]
    pub fn new(settings: AccessSettings, clock: Arc<dyn Clock>) -> Self {
        let passwords = Passwords::new(settings.cost, clock);
        Self { settings, passwords }
    }

    /// The hash of a password.
    ///
    /// # Errors
    /// [`Error::Hash`] if it cannot be made.
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, Error> {
        self.passwords.hash(password).await
    }

    /// Whether `password` is the one of `user`.
    pub async fn is_right(&self, policy: &Policy, user: &str, password: &str, from: Option<IpAddr>) -> bool {
        let stored = match policy.users.get(user).map(|known| known.password.as_ref()) {
            Some(Some(hash)) => Stored::Hash(hash),
            None | Some(None) if user == ROOT => Stored::Text(self.settings.root_password.reveal()),
            None | Some(None) => Stored::Nobody,
        };
        self.passwords.is_right(user, password, stored, from).await
    }
}

/// Who the headers say is asking, if their password is right.
async fn login(
    coord: &dyn Coord,
    access: &Access,
    headers: &HeaderMap,
    from: Option<IpAddr>,
) -> Result<Login, Refused> {
    let (user, password) = match header::read(headers) {
        Said::Nothing => return Err(Refused::Nothing),
        Said::Key => return Err(Refused::Key),
        Said::Password { user, password } => (user, password),
    };
    // Nobody has so long a name, and nothing is to be kept of it.
    if user.len() > LONGEST_NAME {
        return Err(Refused::Password);
    }
    let policy = coord.policy().await.map_err(Refused::Away)?;
    if access.is_right(&policy, &user, &password, from).await {
        return Ok(Login::user(user));
    }
    audit::turned_away(&access.settings, &user, from);
    Err(Refused::Password)
}

/// Tells administrators from others, for a port that serves something else than the APIs.
pub struct Gate {
    coord: Arc<dyn Coord>,
    access: Access,
}

impl Gate {
    /// Knows the users of `coord`, and checks them as `settings` say.
    #[must_use]
    pub fn new(coord: Arc<dyn Coord>, settings: AccessSettings, clock: Arc<dyn Clock>) -> Self {
        Self { coord, access: Access::new(settings, clock) }
    }

    /// Lets through whoever may do everything: root, unless its roles count, and users with the role `admin`.
    ///
    /// # Errors
    /// [`Refused`] for everybody else.
    pub async fn admits(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<(), Refused> {
        let Login { user, .. } = login(self.coord.as_ref(), &self.access, headers, from).await?;
        if &*user == ROOT && !self.access.settings.root_binds_roles {
            return Ok(());
        }
        let policy = self.coord.policy().await.map_err(Refused::Away)?;
        if policy.is_admin(&user) {
            return Ok(());
        }
        Err(Refused::NoAdministrator { user: user.to_string() })
    }
}

/// Lets through who is known, both APIs and every path alike, and tells what comes after who it is.
pub async fn door(State(proxy): State<Proxy>, mut request: Request, next: Next) -> Response {
    if !proxy.access().settings.enabled {
        return next.run(request).await;
    }
    let from = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    match proxy.login(request.headers(), from).await {
        Ok(login) => {
            request.extensions_mut().insert(login);
            next.run(request).await
        }
        Err(refused) if is_grpc(request.headers()) => refused.status().into_http(),
        Err(refused) => refused.json(),
    }
}

/// Tells what comes after that an administrator asks; for a port that has seen to it.
pub async fn administrator(mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    if let Some(from) = from {
        request.extensions_mut().insert(Peer(from));
    }
    request.extensions_mut().insert(Login::operator());
    next.run(request).await
}

/// Whether a request is one of gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl Proxy {
    async fn login(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Login, Refused> {
        login(self.coord(), self.access(), headers, from).await
    }

    /// Whether the caller may make the call of this rule about this target. Who came past the door without a login while
    /// users are checked is nobody. What is given back is to be told how the call ended.
    ///
    /// # Errors
    /// [`Refused`] if not, or if that cannot be seen.
    pub(in crate::proxy) fn check<'a>(
        &'a self,
        caller: &Caller,
        rule: Rule,
        target: impl FnOnce() -> Target,
    ) -> impl Future<Output = Result<Checked, Refused>> + Send + 'a {
        let settings = &self.access().settings;
        let asked = (settings.enabled || settings.audit).then(|| {
            let mut target = target();
            target.database = caller.database(&target.database);
            (caller.login.clone(), caller.from, target)
        });
        async move {
            let Some((login, from, target)) = asked else { return Ok(Checked { asked: None, rule }) };
            if let Err(refused) = self.permit(login.as_ref(), rule, &target).await {
                let reason = refused.to_string();
                audit::note(settings, login.as_ref(), from, rule, &target, Outcome::Denied(&reason));
                return Err(refused);
            }
            Ok(Checked { asked: settings.audit.then_some((login, from, target)), rule })
        }
    }

    /// Whether the caller may make the call of this rule, for what is only shown to who may see it. Logs nothing.
    pub(in crate::proxy) async fn permits(&self, caller: &Caller, rule: Rule, mut target: Target) -> bool {
        target.database = caller.database(&target.database);
        self.permit(caller.login.as_ref(), rule, &target).await.is_ok()
    }

    async fn permit(&self, login: Option<&Login>, rule: Rule, target: &Target) -> Result<(), Refused> {
        let settings = &self.access().settings;
        if !settings.enabled {
            return Ok(());
        }
        let login = login.ok_or(Refused::Nothing)?;
        if rule.needs.is_none() || login.rights == Rights::All {
            return Ok(());
        }
        let policy = self.coord().policy().await.map_err(Refused::Away)?;
        decide(rule, target, &login.user, &policy, settings)
    }

    /// What the caller is shown of lists.
    ///
    /// # Errors
    /// If it cannot be seen who may do what.
    pub(in crate::proxy) async fn visible(&self, login: Option<&Login>) -> Result<View, Error> {
        let settings = &self.access().settings;
        let limited = match login {
            Some(Login { user, rights: Rights::OfRoles })
                if settings.enabled && (&**user != ROOT || settings.root_binds_roles) =>
            {
                Some((self.coord().policy().await?, Arc::clone(user)))
            }
            _ => None,
        };
        Ok(View { limited })
    }
}

/// A call that was allowed.
pub struct Checked {
    /// Who asked, from where and about what, if that is to be logged.
    asked: Option<(Option<Login>, Option<IpAddr>, Target)>,
    rule: Rule,
}

impl Checked {
    /// Logs how the call ended: with which code, if it failed.
    pub fn ended(self, proxy: &Proxy, failed: Option<i32>) {
        let Some((login, from, target)) = self.asked else { return };
        let outcome = failed.map_or(Outcome::Done, Outcome::Failed);
        audit::note(&proxy.access().settings, login.as_ref(), from, self.rule, &target, outcome);
    }
}

#[cfg(test)]
mod tests {
    use contract::pb::milvus::{
        ConnectRequest, CreateCollectionRequest, FlushRequest, UpdateCredentialRequest,
    };

    use super::table::Asks as _;
    use super::*;
    use crate::model::access::{Grant, Role, User};

    /// `ann` may flush two collections.
    fn policy() -> Policy {
        let grant = |name: &str| Grant {
            object: Object::Collection,
            name: name.to_owned(),
            database: "default".to_owned(),
            privilege: "Flush".to_owned(),
            grantor: ROOT.to_owned(),
        };
        let role = Role { grants: vec![grant("books"), grant("films")], ..Role::default() };
        let ann = User { roles: ["writer".to_owned()].into(), ..User::default() };
        Policy {
            users: [("ann".to_owned(), ann)].into(),
            roles: [("writer".to_owned(), role)].into(),
            ..Policy::default()
        }
    }

    fn on<const N: usize>(names: [&str; N]) -> Target {
        Target { database: "default".to_owned(), names: names.map(str::to_owned).to_vec() }
    }

    #[test]
    fn a_call_is_allowed_only_about_everything_that_it_names() {
        let settings = AccessSettings { enabled: true, ..AccessSettings::default() };
        let flush = |user: &str, about: &Target| {
            decide(FlushRequest::RULE, about, user, &policy(), &settings).is_ok()
        };

        assert!(flush("ann", &on(["books"])) && flush("ann", &on(["books", "films"])));
        assert!(!flush("ann", &on(["books", "maps"])) && !flush("ann", &on([])));
        assert!(!flush("bob", &on(["books"])) && flush("root", &on([])));
    }

    #[test]
    fn who_is_refused_hears_what_it_takes() {
        let settings = AccessSettings { enabled: true, ..AccessSettings::default() };

        let refused = decide(CreateCollectionRequest::RULE, &on([]), "ann", &policy(), &settings);

        assert_eq!(
            refused.unwrap_err().to_string(),
            "PrivilegeCreateCollection: permission deny to ann in the `default` database"
        );
    }

    #[test]
    fn open_calls_and_oneself_take_nothing_and_root_may_be_bound_to_roles() {
        let settings = AccessSettings { enabled: true, root_binds_roles: true, ..AccessSettings::default() };
        let decide =
            |rule, about: &Target, user: &str| decide(rule, about, user, &policy(), &settings).is_ok();

        assert!(decide(ConnectRequest::RULE, &on([]), "ann"));
        assert!(decide(UpdateCredentialRequest::RULE, &on(["ann"]), "ann"));
        assert!(!decide(UpdateCredentialRequest::RULE, &on(["bob"]), "ann"));
        assert!(!decide(FlushRequest::RULE, &on(["books"]), "root"));
    }
}
