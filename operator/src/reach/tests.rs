//! Over loopback, with certificates made on the spot.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::certificates::{Credentials, Order, authority, certificate, new_key};

#[tokio::test]
async fn an_address_that_listens_answers_and_one_that_does_not_says_why() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();

    NetReach.dial(&address).await.unwrap();
    drop(listener);
    let error = NetReach.dial(&address).await.unwrap_err();

    assert!(error.to_string().contains("refused"), "{error}");
}

fn order(owner: &str) -> Order<'_> {
    Order { owner, serial: "serial".to_owned(), key: new_key().unwrap(), now: Timestamp::now(), days: 1 }
}

fn issued(by: &Credentials) -> Credentials {
    certificate(by, &["nodes.example".to_owned()], order("db")).unwrap()
}

fn trust(authorities: &Credentials, identity: &Credentials) -> Trust {
    Trust {
        authorities: authorities.pem.clone(),
        name: "nodes.example".to_owned(),
        identity: Some((identity.pem.clone(), identity.key.pem().to_owned())),
    }
}

/// Runs `test` beside a server that shows `own`, takes clients of `trusted`, and says a byte to each whom it takes.
async fn beside_a_server(own: &Credentials, trusted: &Credentials, test: impl AsyncFnOnce(String)) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(own.pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(own.key.pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"s").await;
                let _ = stream.read_u8().await;
            }
        }
    };
    tokio::select! {
        () = serve => panic!("the server ended"),
        () = test(address) => {}
    }
}

#[tokio::test]
async fn a_greeting_tells_what_a_server_shows_and_whom_it_trusts() {
    let (old, new) = (authority(order("old")).unwrap(), authority(order("new")).unwrap());
    let server = issued(&old);

    beside_a_server(&server, &old, async |address| {
        let shown = NetReach.greet(&address, &trust(&old, &issued(&old))).await.unwrap();
        let distrusted = NetReach.greet(&address, &trust(&old, &issued(&new))).await.unwrap_err();
        let insecure = NetReach.greet(&address, &trust(&new, &issued(&old))).await.unwrap_err();

        assert_eq!(shown, CertificateDer::from_pem_slice(server.pem.as_bytes()).unwrap().to_vec());
        assert!(matches!(distrusted, Silence::Distrusted { .. }), "{distrusted}");
        assert!(matches!(insecure, Silence::Insecure { .. }), "{insecure}");
    })
    .await;
}
