import { fileURLToPath } from 'node:url';
import { type Host, inside } from './netns.ts';
import { PYTHON } from './program.ts';

/** Programs that look at an interface's packets, whichever way they hang there. */

const FILTERS = fileURLToPath(new URL('filters.py', import.meta.url));
const DIRECTIONS = ['ingress', 'egress'] as const;

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
export function attachStranger(host: Host, direction: Filter['direction'], verdict: number): void {
  inside(host, [PYTHON, FILTERS, 'attach', host.device, direction, String(verdict)]);
}

/** As somebody does who takes them for his own, or in the way: nothing of ours is on the interface any more. */
export function strip(host: Host, device: string): void {
  for (const { way, direction, id, name } of filtersOn(host, device))
    if (way === 'tcx' && name.startsWith('knock_'))
      inside(host, [PYTHON, FILTERS, 'detach', device, direction, String(id)]);
  if (filtersOn(host, device).some(({ way }) => way === 'clsact'))
    inside(host, ['tc', 'qdisc', 'del', 'dev', device, 'clsact']);
}
