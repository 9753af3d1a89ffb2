import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCallTable, buildStateDiagram } from '../../ts/codegen/docs.ts';
import { buildOriginalsSource } from '../../ts/codegen/originals.ts';
import { buildVersionScript, buildWrappers } from '../../ts/codegen/wrappers.ts';
import { type CallSpec, calls, symbolsOf } from '../../ts/spec/calls.ts';
import { encode, type Message } from '../../ts/spec/codec.ts';
import { transitions } from '../../ts/spec/delayedConnect.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const library = join(root, 'build/Release/libknockify.so');
const thesisCalls = 'socket connect listen send write sendto getsockopt close epoll_wait select'.split(' ');

let scratch = '';
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'knockify-codegen-'));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function compileAndRun(source: string, input: Uint8Array): string {
  const [c, binary] = [join(scratch, 'reader.c'), join(scratch, 'reader')];
  writeFileSync(c, source);
  execFileSync('gcc', [
    '-std=c11',
    '-Wall',
    '-Wextra',
    '-Werror',
    `-I${root}/shim/generated`,
    c,
    '-o',
    binary,
  ]);
  return execFileSync(binary, { input, encoding: 'utf8' });
}

describe('the spec of the overridden calls', () => {
  it('has the ten calls of the thesis, marked as such', () => {
    const marked = calls.filter(({ origin }) => origin === 'thesis').map(({ name }) => name);
    expect(marked.sort()).toEqual([...thesisCalls].sort());
  });

  it('names no symbol twice', () => {
    const symbols = calls.flatMap(symbolsOf);
    expect(new Set(symbols).size).toBe(symbols.length);
  });

  it('looks up a tracked descriptor only where the call has one', () => {
    for (const call of calls.filter(({ when }) => when === 'tracked'))
      expect(call.parameters[0]?.name, call.name).toBe('fd');
  });
});

describe('the builders', () => {
  const call: CallSpec = {
    name: 'ping',
    returns: 'int',
    parameters: [
      { type: 'int', name: 'fd' },
      { type: 'const char *', name: 'text' },
    ],
    origin: 'further',
    when: 'tracked',
    aliases: ['__ping'],
    before: 'before',
    after: 'after',
    untracked: 'untracked',
  };

  it('make wrapper, resolver, version script and table row from one entry', () => {
    expect(buildWrappers([call])).toContain(
      'EXPORTED int wrapped___ping(int fd, const char *text) __asm__("__ping");',
    );
    expect(buildWrappers([call])).toContain('return original_ping(fd, text);');
    expect(buildOriginalsSource([call])).toContain('dlsym(RTLD_NEXT, "ping")');
    expect(buildVersionScript([call])).toContain('    ping;\n    __ping;');
    expect(buildCallTable([call])).toContain('| `ping`, `__ping` |  | before | after | untracked |');
  });

  it('draw every transition', () => {
    const diagram = buildStateDiagram();
    for (const [from, out] of Object.entries(transitions))
      for (const [event, to] of Object.entries(out)) expect(diagram).toContain(`${from} --> ${to}: ${event}`);
  });
});

describe('the library', () => {
  it('exports the overridden names and nothing else', () => {
    const symbols = execFileSync('nm', ['-D', '--defined-only', '--format=posix', library], {
      encoding: 'utf8',
    })
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0]);
    expect(symbols.sort()).toEqual(calls.flatMap(symbolsOf).sort());
  });
});

describe('the generated message structs', () => {
  it('read in C what the TypeScript codec writes', () => {
    const verdict: Message<'verdict'> = {
      kind: 'verdict',
      action: 6,
      log_level: 2,
      follow: 1,
      error: -93,
      protected_length: 24,
      midstate: Uint8Array.from({ length: 16 }, (_, i) => 255 - i),
      peer: Uint8Array.from({ length: 28 }, (_, i) => i),
      peer_size: 28,
      text: Buffer.from('no'),
      prefix: Buffer.from('GET'),
      path: Buffer.from('/x'),
    };
    const source = `#include "messages.h"
#include <stdio.h>
int main(void)
{
    struct { struct message_verdict head; char blobs[64]; } v;
    size_t n = fread(&v, 1, sizeof(v), stdin);
    printf("%zu %u %u %u %u %u %d %u %u %u %u %u %u %u %.7s\\n", n, v.head.header.id, v.head.header.size, v.head.action, v.head.log_level,
           v.head.follow, v.head.error, v.head.protected_length, v.head.midstate[15], v.head.peer[27], v.head.peer_size, v.head.text_length, v.head.prefix_length,
           v.head.path_length, v.blobs);
    return 0;
}
`;
    const bytes = encode(verdict);
    expect(compileAndRun(source, bytes)).toBe(
      `${bytes.length} 7 ${bytes.length} 6 2 1 -93 24 240 27 28 2 3 2 noGET/x\n`,
    );
  });
});

describe('the committed generated files', () => {
  it.each(['generate', 'generateReference'])('are what %s writes today', (generator) => {
    const verify = () =>
      execFileSync('npx', ['tsx', `ts/codegen/${generator}.ts`, '--verify'], { cwd: root, stdio: 'pipe' });
    expect(verify).not.toThrow();
  });

  it('have the table that the builder makes', () => {
    expect(readFileSync(join(root, 'docs/calls.md'), 'utf8')).toBe(buildCallTable(calls));
  });
});
