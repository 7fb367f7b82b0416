//! As much of HTTP/1.1 as a JSON-RPC exchange on loopback needs: messages with a length, or up to the end of the stream.

use std::io::{self, BufRead, Write};

/// A request or a response.
#[derive(Clone, Debug)]
pub struct Message {
    /// The request or status line, without its end.
    pub first_line: String,
    /// Name and value of each header, as sent.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Message {
    /// A message with a body of `content_type`; its length is added when it is written.
    pub fn new(first_line: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".into(), content_type.into())];
        Self { first_line: first_line.into(), headers, body: body.into() }
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.first_line.split(' ').nth(1)?.parse().ok()
    }

    /// Reads one message; `None` when the stream ended before its first byte.
    ///
    /// # Errors
    /// A broken or early closed stream, or a framing other than a length or the end of the stream.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first_line) = line(stream)? else { return Ok(None) };
        let mut message = Self { first_line, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            message.headers.push((name.trim().into(), value.trim().into()));
        }
        if message.header("transfer-encoding").is_some() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "chunked bodies are not read here"));
        }
        match message.header("content-length").map(str::parse) {
            Some(length) => {
                let length: usize = length.map_err(|_| io::ErrorKind::InvalidData)?;
                message.body.resize(length, 0);
                stream.read_exact(&mut message.body)?;
            }
            None if message.first_line.starts_with("HTTP/") => drop(stream.read_to_end(&mut message.body)?),
            None => {}
        }
        Ok(Some(message))
    }

    /// The message as it goes over the wire, with the length of its body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.first_line);
        for (name, value) in
            self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
        {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        [bytes.as_bytes(), &self.body].concat()
    }

    /// Writes the message in one piece.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        stream.write_all(&self.to_bytes())
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(Some(line))
}
