//! The question to a CGI site: one GET, asked of the instance's fcgiwrap over FastCGI as the web server does.
//!
//! A request of this protocol is a handful of records of a type, a length and bytes; what comes back is the program's output, of which only the
//! status counts. So it is written out here; a library would bring a server, a pool and parameters that nobody asks for.

use std::path::Path;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Target;
use crate::api::site::Programs;
use crate::api::types::UrlPath;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// So much of an answer is looked at for its head.
const MOST: usize = 64 << 10;

/// Asks once; the status that the program gives.
pub(super) async fn ask(
    mut stream: TcpStream,
    target: &Target,
    path: &UrlPath,
    port: u16,
    programs: &Programs,
    release: &Path,
) -> Result<StatusCode, String> {
    let request = request(&parameters(target, path, port, programs, release));
    stream.write_all(&request).await.map_err(|e| format!("could not be asked: {e}"))?;
    let mut output = Vec::new();
    loop {
        let mut head = [0_u8; 8];
        stream.read_exact(&mut head).await.map_err(|_| "was closed without an answer".to_owned())?;
        let [_, kind, _, _, high, low, padding, _] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut content = vec![0; length + usize::from(padding)];
        stream.read_exact(&mut content).await.map_err(|_| "was closed in the middle of an answer".to_owned())?;
        match kind {
            STDOUT if output.len() < MOST => output.extend_from_slice(content.get(..length).unwrap_or_default()),
            END_REQUEST => return status(&output),
            // What it says to its log is in its log.
            _ => {}
        }
    }
}

fn parameters(
    target: &Target,
    path: &UrlPath,
    port: u16,
    programs: &Programs,
    release: &Path,
) -> Vec<(&'static str, String)> {
    let path = path.to_string();
    let mut all = vec![
        ("REQUEST_METHOD", "GET".to_owned()),
        ("REQUEST_URI", path.clone()),
        ("DOCUMENT_URI", path.clone()),
        ("QUERY_STRING", String::new()),
        ("DOCUMENT_ROOT", release.display().to_string()),
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_PROTOCOL", "HTTP/1.1".to_owned()),
        ("SERVER_SOFTWARE", "bluegreen".to_owned()),
        ("SERVER_NAME", target.host.clone()),
        ("SERVER_PORT", port.to_string()),
        ("REMOTE_ADDR", "127.0.0.1".to_owned()),
        ("HTTP_HOST", target.host.clone()),
        ("HTTP_USER_AGENT", concat!("bluegreen/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    match programs {
        Programs::Script(script) => all.extend([
            ("SCRIPT_FILENAME", script.below(release).display().to_string()),
            ("SCRIPT_NAME", String::new()),
            ("PATH_INFO", path),
        ]),
        Programs::Folder(_) => all.push(("SCRIPT_NAME", path)),
    }
    all
}

fn request(parameters: &[(&str, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The role of a responder, and no flag: the connection ends with the answer.
    record(&mut bytes, BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut content = Vec::new();
    for (name, value) in parameters {
        length(&mut content, name.len());
        length(&mut content, value.len());
        content.extend_from_slice(name.as_bytes());
        content.extend_from_slice(value.as_bytes());
    }
    for part in content.chunks(usize::from(u16::MAX)) {
        record(&mut bytes, PARAMS, part);
    }
    record(&mut bytes, PARAMS, &[]);
    record(&mut bytes, STDIN, &[]);
    bytes
}

fn record(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    bytes.extend_from_slice(&[1, kind, 0, 1, high, low, 0, 0]);
    bytes.extend_from_slice(content);
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 128 => bytes.push(short),
        _ => bytes.extend_from_slice(&(u32::try_from(length).unwrap_or(u32::MAX) | 1 << 31).to_be_bytes()),
    }
}

/// A program that says no status means 200; one that says where else to look means 302.
fn status(output: &[u8]) -> Result<StatusCode, String> {
    let mut located = false;
    let mut typed = false;
    for line in output.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(
                "answers something that is no CGI: a header (Content-Type: text/html) and an empty line come first"
                    .to_owned(),
            );
        };
        match name.to_ascii_lowercase().as_str() {
            "status" => {
                let code = value.split_whitespace().next().and_then(|code| code.parse().ok());
                return code.ok_or_else(|| format!("answers a status that is none: {:?}", value.trim()));
            }
            "location" => located = true,
            "content-type" => typed = true,
            _ => {}
        }
    }
    match (located, typed) {
        (true, _) => Ok(StatusCode::FOUND),
        (false, true) => Ok(StatusCode::OK),
        (false, false) => Err("answers nothing: see what it printed with `bluegreen logs`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_status_is_what_it_says_or_what_its_headers_mean() {
        assert_eq!(status(b"Status: 404 Not Found\r\n\r\nno"), Ok(StatusCode::NOT_FOUND));
        assert_eq!(status(b"Content-Type: text/plain\n\nStatus: 500\n"), Ok(StatusCode::OK));
        assert_eq!(status(b"Location: /x\n\n"), Ok(StatusCode::FOUND));
        assert!(status(b"").unwrap_err().contains("answers nothing"));
        assert!(status(b"hello\n").unwrap_err().contains("no CGI"));
        assert!(status(b"Status: fine\n\n").unwrap_err().contains("none"));
    }

    #[test]
    fn a_request_is_a_beginning_parameters_and_two_ends() {
        let long = "x".repeat(200);
        let bytes = request(&[("A", "b".to_owned()), ("C", long.clone())]);
        assert_eq!(bytes[..16], [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let size = 4 + 1 + 4 + 1 + long.len();
        let [high, low] = u16::try_from(size).unwrap().to_be_bytes();
        assert_eq!(bytes[16..24], [1, 4, 0, 1, high, low, 0, 0]);
        assert_eq!(bytes[24..34], [1, 1, b'A', b'b', 1, 0x80, 0, 0, 200, b'C']);
        assert_eq!(bytes[bytes.len() - 16..], [1, 4, 0, 1, 0, 0, 0, 0, 1, 5, 0, 1, 0, 0, 0, 0]);
    }
}
