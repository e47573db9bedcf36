// Starts the three servers, sends them every case, and prints what each of them read.
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';

const [corpus, work] = process.argv.slice(2);
const QUIET_MS = 400;

const plain = (text) => Buffer.from(
  text.replace(/\\(r|n|t|0|\\|x[0-9a-f]{2})/g, (_, e) =>
    e === 'r' ? '\r' : e === 'n' ? '\n' : e === 't' ? '\t' : e === '0' ? '\0' : e === '\\' ? '\\'
      : String.fromCharCode(parseInt(e.slice(1), 16))), 'latin1');

const unescape = (text) => {
  const parts = [];
  let rest = text;
  for (let m; (m = /<<([^]*?)\*(\d+)>>/.exec(rest));) {
    parts.push(plain(rest.slice(0, m.index)), Buffer.from(plain(m[1]).toString('latin1').repeat(+m[2]), 'latin1'));
    rest = rest.slice(m.index + m[0].length);
  }
  return Buffer.concat([...parts, plain(rest)]);
};

const show = (bytes) => bytes.length === 0 ? '-' : [...bytes].map((b) =>
  b === 0x5c ? '\\\\' : b === 13 ? '\\r' : b === 10 ? '\\n' : b === 9 ? '\\t'
    : b < 0x20 || b > 0x7e ? `\\x${b.toString(16).padStart(2, '0')}` : String.fromCharCode(b)).join('');

const shorten = (text) => text.replace(/(.)\1{60,}/g, (run, c) => `<<${c}*${run.length}>>`);

const cases = readFileSync(corpus, 'utf8').split('\n\n').map((block) => {
  const lines = block.split('\n').filter((line) => line && !line.startsWith('#'));
  const sent = lines.filter((line) => line.startsWith('> ')).map((line) => unescape(line.slice(2)));
  return { name: lines[0], bytes: Buffer.concat(sent) };
}).filter((c) => c.name);

// --- the servers -------------------------------------------------------------------------------------
const listen = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));

const nodeServer = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => response.end(
    `${request.method} ${show(Buffer.from(request.url, 'latin1'))} ${request.headers.host || '-'} ${show(Buffer.concat(parts))}`));
});

// What nginx forwards is well formed and has a Content-Length, so this need not be clever.
const behindNginx = net.createServer((socket) => {
  let have = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (data) => {
    have = Buffer.concat([have, data]);
    for (let end; (end = have.indexOf('\r\n\r\n')) >= 0;) {
      const [line, ...fields] = have.subarray(0, end).toString('latin1').split('\r\n');
      const value = (name) => fields.find((f) => f.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim();
      const length = Number(value('content-length') ?? 0);
      if (have.length < end + 4 + length) return;
      const body = have.subarray(end + 4, end + 4 + length);
      have = have.subarray(end + 4 + length);
      const [, method, target] = /^(\S+) (.*) HTTP\/1\.1$/.exec(line);
      const answer = `${method} ${show(Buffer.from(target, 'latin1'))} ${value('x-seen-host') || '-'} ${show(body)}`;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answer.length}\r\n\r\n${answer}`);
    }
  });
});

const startNginx = async () => {
  const backend = await listen(behindNginx);
  const probe = net.createServer();
  const free = await listen(probe);
  await new Promise((done) => probe.close(done));
  mkdirSync(`${work}/nginx`, { recursive: true });
  writeFileSync(`${work}/nginx.conf`, `
daemon off; master_process off; pid ${work}/nginx.pid; error_log ${work}/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path ${work}/nginx; proxy_temp_path ${work}/nginx; fastcgi_temp_path ${work}/nginx;
  uwsgi_temp_path ${work}/nginx; scgi_temp_path ${work}/nginx;
  server {
    listen 127.0.0.1:${free};
    location / {
      proxy_pass http://127.0.0.1:${backend};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host backend;
      proxy_set_header X-Seen-Host $host;
    }
  }
}`);
  const child = spawn('nginx', ['-c', `${work}/nginx.conf`, '-e', `${work}/nginx.log`], { stdio: 'ignore' });
  for (;;) {
    if (await new Promise((done) => {
      const s = net.connect(free, '127.0.0.1', () => { s.destroy(); done(true); });
      s.on('error', () => setTimeout(() => done(false), 20));
    })) return { port: free, child };
  }
};

const startGo = () => new Promise((done) => {
  const child = spawn(`${work}/go-server`, { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.once('data', (line) => done({ port: Number(line), child }));
});

// --- the client --------------------------------------------------------------------------------------
const answers = (bytes) => {
  const out = [];
  let rest = bytes;
  for (let end; (end = rest.indexOf('\r\n\r\n')) >= 0;) {
    const [line, ...fields] = rest.subarray(0, end).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d+)/.exec(line)?.[1] ?? 0);
    const field = (name) => fields.find((f) => f.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim();
    rest = rest.subarray(end + 4);
    if (status >= 100 && status < 200) continue;
    const length = field('content-length') === undefined ? rest.length : Number(field('content-length'));
    out.push(status === 200 ? rest.subarray(0, length).toString('latin1') : String(status));
    rest = rest.subarray(length);
  }
  return out;
};

const ask = (port, bytes) => new Promise((done) => {
  let have = Buffer.alloc(0);
  let timer;
  const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
  const finish = (end) => {
    clearTimeout(timer);
    socket.destroy();
    done([...answers(have), end].join(' | '));
  };
  const arm = () => {
    clearTimeout(timer);
    timer = setTimeout(() => finish('open'), QUIET_MS);
  };
  arm();
  socket.on('data', (data) => { have = Buffer.concat([have, data]); arm(); });
  socket.on('error', () => finish('closed'));
  socket.on('end', () => finish('closed'));
  socket.on('close', () => finish('closed'));
});

const nginx = await startNginx();
const go = await startGo();
const servers = { go: go.port, nginx: nginx.port, node: await listen(nodeServer) };
const version = (program, args) => {
  try { return execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim(); } catch { return '?'; }
};
const nginxVersion = execFileSync('sh', ['-c', 'nginx -v 2>&1']).toString().trim().replace(/^.*\//, '');
console.log('# Written by record.sh. For each case and server: the messages that it read (method, target, host,');
console.log('# body) or the status of a refusal, then whether it left the connection open.');
console.log(`# go ${version('go', ['version']).split(' ')[2].slice(2)}, nginx ${nginxVersion}, node ${process.versions.node}`);
const rows = new Map();
const queue = [...cases];
await Promise.all(Array.from({ length: 8 }, async () => {
  for (let c; (c = queue.shift());) {
    const row = {};
    for (const [name, port] of Object.entries(servers)) row[name] = await ask(port, c.bytes);
    rows.set(c.name, row);
  }
}));
for (const { name } of cases) {
  console.log(`\n${name}`);
  for (const [server, answer] of Object.entries(rows.get(name))) console.log(`${server}: ${shorten(answer)}`);
}
nginx.child.kill();
go.child.kill();
process.exit(0);
