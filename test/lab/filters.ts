import { fileURLToPath } from 'node:url';
import { type Host, inside } from './netns.ts';
import { PYTHON } from './program.ts';

/** Programs that look at an interface's packets, whichever way they hang there. */

const FILTERS = fileURLToPath(new URL('filters.py', import.meta.url));
const DIRECTIONS = ['ingress', 'egress'] as const;

/** enum tcx_action_base. */
export const PASS = 0;
/** Of tcx, on one interface in one direction. */
const MOST = 63;
/** A filter that never matches; another protocol than ours at the same priority is what the kernel refuses. */
export const FOREIGN = ['protocol', 'ip', 'bpf', 'bytecode', '1,6 0 0 0'];

export interface Filter {
  readonly way: 'tcx' | 'clsact';
  readonly direction: (typeof DIRECTIONS)[number];
  readonly id: number;
  readonly name: string;
}

/** In the order in which they run, of each direction. */
export function filtersOn(host: Host, device = host.device): Filter[] {
  const shown = inside(host, [PYTHON, FILTERS, 'show', device]);
  const tcx = [...shown.matchAll(/^(\w+) (\d+) (.*)$/gm)].map(([, direction, id, name = '']) => {
    return { way: 'tcx', direction, id: Number(id), name } as Filter;
  });
  return DIRECTIONS.flatMap((direction) => {
    const listed = inside(host, ['tc', 'filter', 'show', 'dev', device, direction]);
    const clsact = [...listed.matchAll(/handle 0x\w+ (\w+)\S* .*\bid (\d+)/g)].map(([, name = '', id]) => {
      return { way: 'clsact', direction, id: Number(id), name } as Filter;
    });
    return [...tcx.filter((filter) => filter.direction === direction), ...clsact];
  });
}

/** Names of ours. */
export function knockFilters(host: Host, device = host.device): string[] {
  return filtersOn(host, device).flatMap(({ name }) => (name.startsWith('knock_') ? name : []));
}

/** Hangs a program of somebody else's, with a verdict for all packets, before all others. */
export function attachStranger(
  host: Host,
  direction: Filter['direction'],
  verdict: number,
  device = host.device,
): void {
  inside(host, [PYTHON, FILTERS, 'attach', device, direction, String(verdict)]);
}

/** Takes a program of tcx away, whose ever it is. */
function detachProgram(host: Host, device: string, { direction, id }: Filter): void {
  inside(host, [PYTHON, FILTERS, 'detach', device, direction, String(id)]);
}

/** Leaves no room for filters of ours on an interface, where they hang in that way; returns what mends it. */
export function crowdOut(host: Host, device: string, way: Filter['way']): () => void {
  if (way === 'tcx') {
    for (let n = 0; n < MOST; n++) attachStranger(host, 'egress', PASS, device);
    return () => {
      const [stranger] = filtersOn(host, device).filter(({ name }) => name === 'stranger');
      if (stranger !== undefined) detachProgram(host, device, stranger);
    };
  }
  const filter = ['dev', device, 'egress', 'prio', '1'];
  inside(host, ['tc', 'qdisc', 'add', 'dev', device, 'clsact']);
  inside(host, ['tc', 'filter', 'add', ...filter, ...FOREIGN]);
  return () => inside(host, ['tc', 'filter', 'del', ...filter]);
}

/** As somebody does who takes them for his own, or in the way: nothing of ours is on the interface any more. */
export function strip(host: Host, device: string): void {
  for (const filter of filtersOn(host, device))
    if (filter.way === 'tcx' && filter.name.startsWith('knock_')) detachProgram(host, device, filter);
  if (filtersOn(host, device).some(({ way }) => way === 'clsact'))
    inside(host, ['tc', 'qdisc', 'del', 'dev', device, 'clsact']);
}
