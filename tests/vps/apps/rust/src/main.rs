use std::{
    env::var,
    io::{Read, Write},
    net::TcpListener,
};

fn main() {
    let address = format!("{}:{}", var("HOST").unwrap(), var("PORT").unwrap());
    for stream in TcpListener::bind(address).unwrap().incoming().flatten() {
        let mut stream = stream;
        let _ = stream.read(&mut [0; 4096]);
        let text = format!("Rust in {}", var("PROJECT_NAME").unwrap());
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    }
}
