// A small shop on Node alone. It listens where the agent says, keeps connections longer than the web server does, and ends when it is asked to.
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const version = fs.readFileSync(path.join(__dirname, "VERSION"), "utf8").trim();
const colour = process.env.BLUEGREEN_COLOUR || "none";

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => answer(request, response, Buffer.concat(pieces)));
});

function answer(request, response, body) {
  const say = (status, type, text) => {
    response.writeHead(status, {
      "Content-Type": type,
      "Content-Length": Buffer.byteLength(text),
      "X-Version": version,
      "X-Colour": colour,
      "X-Request-Id": request.headers["x-request-id"] || "",
    });
    response.end(text);
  };
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/healthz") {
    say(200, "text/plain", "ok");
  } else if (pathname === "/order" && request.method === "POST") {
    say(200, "application/json", `{"bytes":${body.length}}`);
  } else if (pathname === "/seen") {
    const client = request.headers["x-forwarded-for"] || "";
    say(200, "application/json", JSON.stringify({ client, host: request.headers.host, environment: process.env.NODE_ENV || "" }));
  } else if (pathname === "/") {
    say(200, "text/html", `<!doctype html><h1>shop ${version}</h1>`);
  } else {
    say(404, "text/plain", "there is no such page");
  }
}

// Node's own 5 s are longer than the web server's 2 s as well; a minute is what the other runtimes have.
server.keepAliveTimeout = 75_000;
server.listen(Number(process.env.PORT), "127.0.0.1");
// What is under way is answered; then nothing is left to do, and the process ends.
process.on("SIGTERM", () => server.close());
