import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { artefact } from '../../ts/sys/artefacts.ts';
import {
  deleteStorage,
  loadBpf,
  mapInfo,
  programInfo,
  readStorage,
  writeStorage,
} from '../../ts/sys/libbpf.ts';
import { AF_INET, close, SOCK_STREAM, socket } from '../../ts/sys/libc.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'knockify-bpf-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function compile(name: string, source: string): string {
  const [input, output] = [join(directory, `${name}.c`), join(directory, `${name}.o`)];
  writeFileSync(input, source);
  const multiarch = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const flags = ['-O2', '-g', '-target', 'bpf', '-I', `/usr/include/${multiarch}`];
  execFileSync('clang', [...flags, '-c', input, '-o', output]);
  return relative(artefact('.'), output);
}

const HEAD =
  '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nchar license_text[] SEC("license") = "GPL";\n';

test('what the verifier refuses comes with the reason', () => {
  const object = compile(
    'bad',
    `${HEAD}SEC("tc") int bad(struct __sk_buff *skb) { return *(int *)(long)skb->data; }`,
  );
  expect(() => loadBpf(object)).toThrow(/^bpf\(.*bad\.o\): EACCES.*verifier says:\n.*outside of the packet/s);
});

test('what is no BPF object is named', () => {
  const file = join(directory, 'text.o');
  writeFileSync(file, 'text');
  expect(() => loadBpf(relative(artefact('.'), file))).toThrow(
    'text.o is not a BPF object file; build it again',
  );
  expect(() => loadBpf('missing.o')).toThrow(/ENOENT.*missing\.o/);
});

test('a map can be used by two objects', () => {
  const object = compile(
    'shared',
    `${HEAD}struct { __uint(type, BPF_MAP_TYPE_SK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC);
     __type(key, int); __type(value, __u64); } shared SEC(".maps");
     SEC("tc") int use(struct __sk_buff *skb) {
       struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : 0;
       return sk && bpf_sk_storage_get(&shared, sk, 0, 0) ? 1 : 0; }`,
  );
  const first = loadBpf(object);
  const second = loadBpf(object, { maps: new Map([['shared', first.map('shared')]]) });
  expect(programInfo(first.program('use')).name).toBe('use');
  expect(programInfo(second.program('use')).maps).toEqual(programInfo(first.program('use')).maps);
  expect(mapInfo(second.map('shared'))).toMatchObject({ name: 'shared', valueSize: 8 });
  const fd = socket(AF_INET, SOCK_STREAM, 0);
  expect(readStorage(first.map('shared'), fd, 8)).toBeUndefined();
  writeStorage(first.map('shared'), fd, Buffer.from('12345678'));
  expect(readStorage(second.map('shared'), fd, 8)?.toString()).toBe('12345678');
  deleteStorage(second.map('shared'), fd);
  deleteStorage(second.map('shared'), fd);
  expect(readStorage(first.map('shared'), fd, 8)).toBeUndefined();
  close(fd);
  expect(() => first.map('nothing')).toThrow('the BPF object has no map named nothing');
  second.close();
  first.close();
});
