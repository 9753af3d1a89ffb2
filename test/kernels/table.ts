/** The kernels, and what runs on them. */

export const SERIES = ['6.1', '6.12'] as const;
export type Series = (typeof SERIES)[number];

export const FILES: readonly { readonly file: string; readonly about: string }[] = [
  { file: 'test/engine/token.test.ts', about: 'the token as BPF computes it' },
  { file: 'test/engine/loading.test.ts', about: 'BPF programs load with CAP_NET_ADMIN and CAP_BPF alone' },
  { file: 'test/engine/port.test.ts', about: 'the port of a connection that is armed' },
  { file: 'test/engine/devices.test.ts', about: 'macvlan, bridge, VXLAN, tun' },
  { file: 'test/engine/filters.test.ts', about: 'where the filters hang, and beside what' },
  { file: 'test/engine/named.test.ts', about: 'named secrets, with these two capabilities alone' },
  { file: 'test/engine/records.test.ts', about: 'what guards and filters have done' },
  {
    file: 'test/engine/surviving.test.ts',
    about: 'control processes that are killed, replaced, run side by side',
  },
  { file: 'test/lab/token.test.ts', about: 'the token on the wire, whatever becomes of the SYN' },
  { file: 'test/lab/failclosed.test.ts', about: 'no SYN and no listener where stealth can not be had' },
  { file: 'test/kernels/inside/virtual.test.ts', about: 'timestamps, VLAN, bond, WireGuard, netem' },
];
