import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { integrityHash } from '../../ts/stealth/token.ts';
import { type TokenVector, VECTORS } from '../stealth/vectors.ts';

/** native/bpf/token.h against all vectors, compiled for this machine and as a BPF program in the kernel. */

const HEADERS = fileURLToPath(new URL('../../native/bpf', import.meta.url));
const source = (name: string) => fileURLToPath(new URL(name, import.meta.url));

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'knockify-token-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** struct token_input, in this machine's byte order. */
function inputOf(vector: TokenVector): Buffer {
  const secret = padSecret(Buffer.from(vector.secret));
  const { address, port } = destinationOf(vector.dest, vector.port);
  const bytes = Buffer.alloc(88);
  bytes.set(secret);
  bytes.set(address, 64);
  bytes.writeUInt32LE(vector.tsval, 80);
  bytes.writeUInt16LE(port, 84);
  if (vector.payload !== undefined)
    bytes.writeUInt16LE(integrityHash(secret, Buffer.from(vector.payload)), 86);
  return bytes;
}

/** The AV decides the upper half of the ISN in integrity mode, and all of it otherwise. */
function isnOf(vector: TokenVector, authenticator: number): number {
  if (vector.payload === undefined) return authenticator;
  const hash = integrityHash(padSecret(Buffer.from(vector.secret)), Buffer.from(vector.payload));
  return ((authenticator & 0xffff0000) | hash) >>> 0;
}

test('in C', () => {
  const program = join(directory, 'token');
  execFileSync('cc', [
    '-std=gnu11',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-I',
    HEADERS,
    source('token.c'),
    '-o',
    program,
  ]);
  for (const vector of VECTORS) {
    const authenticator = Number(execFileSync(program, { input: inputOf(vector), encoding: 'utf8' }));
    expect([vector.dest, isnOf(vector, authenticator)]).toEqual([vector.dest, vector.isn]);
  }
});

test('in the kernel', () => {
  const object = join(directory, 'token.o');
  const multiarch = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const include = ['-I', HEADERS, '-I', `/usr/include/${multiarch}`];
  execFileSync('clang', [
    '-O2',
    '-g',
    '-target',
    'bpf',
    ...include,
    '-c',
    source('token.bpf.c'),
    '-o',
    object,
  ]);
  const inputs = VECTORS.map((vector, i) => {
    const file = join(directory, `input-${i}`);
    writeFileSync(file, inputOf(vector));
    return file;
  });
  // bpftool runs pinned programs only; the mount is gone with the shell.
  const script = `mount -t bpf none "$0" && bpftool prog load "$1" "$0/token" && shift &&
    for input; do bpftool prog run pinned "$0/token" data_in "$input"; done`;
  const pins = join(directory, 'pins');
  mkdirSync(pins);
  const printed = execFileSync('unshare', ['-m', 'sh', '-c', script, pins, object, ...inputs], {
    encoding: 'utf8',
    // bpftool announces what its next version will do differently.
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const values = [...printed.matchAll(/Return value: (\d+)/g)].map(([, value]) => Number(value) >>> 0);
  expect(values.map((value, i) => isnOf(VECTORS[i] as TokenVector, value))).toEqual(
    VECTORS.map(({ isn }) => isn),
  );
});
