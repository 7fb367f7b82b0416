//! Providers behind TLS: one whose certificate is trusted, and those whose is not.

use actix_web::{web, App, HttpResponse, HttpServer};

use super::several::who;
use super::*;

/// A provider that speaks TLS as `name`, at the URL given; and its certificate.
fn provider(name: &str) -> (String, CertificateDer<'static>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let issued = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.key_pair.serialize_der()).unwrap();
    let certificate = issued.cert.der().clone();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let answer = |question: web::Json<Value>| async move {
        HttpResponse::Ok().json(json!({ "jsonrpc": "2.0", "id": question["id"], "result": "over TLS" }))
    };
    let server = HttpServer::new(move || App::new().default_service(web::post().to(answer)))
        .workers(1)
        .bind_rustls_0_23("127.0.0.1:0", tls)
        .unwrap();
    let port = server.addrs()[0].port();
    actix_rt::spawn(server.run());
    (format!("https://localhost:{port}/v3/0123456789abcdef"), certificate)
}

#[actix_rt::test]
async fn a_provider_whose_authority_is_trusted_is_asked_over_tls() {
    let (url, certificate) = provider("localhost");
    let config = Config { authorities: vec![certificate], ..Config::default() };
    let client = Client::new(&url, config).unwrap();
    assert_eq!(who(&client).await.unwrap(), "over TLS");
    assert_eq!(who(&client).await.unwrap(), "over TLS", "and on the same connection again");
}

#[actix_rt::test]
async fn a_certificate_that_proves_nothing_is_an_error_that_says_so() {
    let (unknown, _) = provider("localhost");
    let (misnamed, certificate) = provider("another.test");
    let (_, of_another) = provider("localhost");
    for (url, authorities, words) in [
        (&unknown, vec![], "UnknownIssuer"),
        (&unknown, vec![of_another], "invalid peer certificate"),
        (&misnamed, vec![certificate], "not valid for name"),
    ] {
        let client = Client::new(url, Config { authorities, ..Config::default() }).unwrap();
        let error = who(&client).await.unwrap_err();
        assert!(
            matches!(&error, Error::Unreachable { what, .. } if what.contains(words)),
            "{words}: {error}"
        );
        assert!(!error.to_string().contains("0123456789abcdef"), "{error}");
    }
}

#[actix_rt::test]
async fn a_provider_without_tls_where_it_should_be_is_an_error() {
    let (client, _) = faulty(Config::default(), |_| panic!("that was no request")).await;
    let shown = client.endpoint().to_string().replace("http:", "https:").replace("/…", "");
    assert!(matches!(
        who(&Client::new(&shown, Config::default()).unwrap()).await,
        Err(Error::Unreachable { .. }) | Err(Error::TimedOut { .. })
    ));
}
