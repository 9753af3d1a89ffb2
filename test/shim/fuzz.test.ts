import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { verdict } from '../../ts/control/verdict.ts';
import { encode } from '../../ts/spec/codec.ts';
import { actions } from '../../ts/spec/messages.ts';
import { scaled } from '../lab/scale.ts';

const RUNS = scaled(50_000, 2_000_000);
const SOURCES = [
  'control.c',
  'environment.c',
  'log.c',
  'memory.c',
  'patience.c',
  'request.c',
  'generated/originals.c',
].map((name) => `../../shim/${name}`);
/** How verdict.fuzz.c is told which request it is that the answer answers. */
const REQUESTS = 5;
const HEADED = 0x80;

let scratch = '';
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'knockify-fuzz-'));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function compile(): string {
  const program = join(scratch, 'verdict');
  const sources = ['verdict.fuzz.c', ...SOURCES].map((name) => fileURLToPath(new URL(name, import.meta.url)));
  const sanitizers = ['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all'];
  execFileSync('clang', ['-std=c11', '-O1', '-g', ...sanitizers, ...sources, '-o', program]);
  return program;
}

/** Answers as the control process gives them, to start from. */
function seed(directory: string): void {
  const datagram = (bytes: Uint8Array) =>
    Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
  const rich = { text: 'why', logLevel: 3, prefix: Buffer.from('gathered'), sockaddr: new Uint8Array(16) };
  for (const [index, { name }] of actions.entries()) {
    const path = Buffer.from('/etc/knock.key');
    const answer = datagram(encode(verdict(name, name === 'need_file' ? { path } : rich)));
    const last = datagram(encode(verdict('pass')));
    for (let request = 0; request < REQUESTS; request++) {
      writeFileSync(
        join(directory, `${index}-${request}`),
        Buffer.concat([Buffer.from([request | HEADED]), answer, last]),
      );
    }
  }
}

it(`whatever a control process answers, ${RUNS} times: the library neither crashes nor reads too far`, {
  timeout: 600_000,
}, () => {
  const program = compile();
  const corpus = join(scratch, 'corpus');
  mkdirSync(corpus);
  seed(corpus);
  const options = [`-runs=${RUNS}`, '-max_len=20000', '-print_final_stats=1', `-artifact_prefix=${scratch}/`];
  const said = execFileSync('bash', ['-c', '"$@" 2>&1', 'bash', program, ...options, corpus], {
    encoding: 'utf8',
  });
  expect(said).toMatch(new RegExp(`number_of_executed_units: *${RUNS}`));
  // It got beyond the first checks: inputs were found that reach further than the seeds.
  expect(readdirSync(corpus).length).toBeGreaterThan(actions.length * REQUESTS);
});
