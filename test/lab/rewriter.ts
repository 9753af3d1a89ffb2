import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Host, inside, type Lab } from './netns.ts';

/** What a firewall does to connections over IPv4: macros of rewrite.bpf.c. */
export const REWRITERS = {
  sequence: ['SHIFT_SEQUENCE=0x12345678'],
  timestamp: ['SHIFT_TIMESTAMP=0x01020304'],
  both: ['SHIFT_SEQUENCE=0x12345678', 'SHIFT_TIMESTAMP=0x01020304'],
  strip: ['STRIP_TIMESTAMP=1'],
} as const;

const SOURCE = fileURLToPath(new URL('rewrite.bpf.c', import.meta.url));
/** Behind the control process's own filters on the way out, and before the listener on the way in. */
const PRIORITY = '9';
const DIRECTIONS = [
  ['ingress', 'towards'],
  ['egress', 'back'],
] as const;

let objects = 0;

/** Puts something between the client and a server's interface that is not transparent. Returns what ends that. */
export function attachRewriter(lab: Lab, server: Host, macros: readonly string[]): () => void {
  const object = join(lab.directory, `rewrite-${objects++}.o`);
  const target = ['-O2', '-g', '-target', 'bpf', `-I/usr/include/${multiarch()}`];
  execFileSync('clang', [...target, ...macros.map((macro) => `-D${macro}`), '-c', SOURCE, '-o', object]);
  // The control process has made it where the kernel has no tcx.
  const disc = (verb: string) => ['tc', 'qdisc', verb, 'dev', server.device];
  const ours = !inside(server, disc('show')).includes('clsact');
  if (ours) inside(server, [...disc('add'), 'clsact']);
  const filter = (verb: string, direction: string) => [
    'tc',
    'filter',
    verb,
    'dev',
    server.device,
    direction,
    'prio',
    PRIORITY,
  ];
  for (const [direction, section] of DIRECTIONS)
    inside(server, [...filter('add', direction), 'bpf', 'da', 'obj', object, 'sec', section]);
  return () => {
    for (const [direction] of DIRECTIONS) inside(server, filter('del', direction));
    if (ours) inside(server, [...disc('del'), 'clsact']);
  };
}

function multiarch(): string {
  return execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
}
