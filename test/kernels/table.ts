/** The kernels, and what runs on them. */

export const SERIES = ['6.1', '6.12'] as const;
export type Series = (typeof SERIES)[number];

export const FILES: readonly { readonly file: string; readonly about: string }[] = [
  { file: 'test/engine/token.test.ts', about: 'the token as BPF computes it' },
  { file: 'test/engine/port.test.ts', about: 'the port of a connection that is armed' },
  { file: 'test/engine/devices.test.ts', about: 'macvlan, bridge, VXLAN, tun' },
  { file: 'test/kernels/inside/virtual.test.ts', about: 'timestamps, VLAN, bond, WireGuard, netem' },
];
