import { endpointOf } from '../../ts/api/endpoint.ts';
import { encodeGuardConfig } from '../../ts/engine/stock/layout.ts';
import { loadBpf } from '../../ts/sys/libbpf.ts';
import { AF_INET } from '../../ts/sys/options.ts';
import * as tcp from '../../ts/sys/tcp.ts';

/**
 * `tokenless.ts PORT`: a listener whose guard has no secret, so that it computes no token: what of a verdict is not the token. It
 * counts in maps of its own, which know no listener.
 */

const guard = loadBpf('guard.bpf.o', { rodata: encodeGuardConfig(undefined, {}) });
const listener = tcp.socket(AF_INET);
tcp.bind(listener, endpointOf('0.0.0.0', Number(process.argv[2])).sockaddr);
tcp.setInt(listener, 'SO_REUSEPORT', 1);
tcp.setInt(listener, 'SO_ATTACH_REUSEPORT_EBPF', guard.program('knock_guard_listener'));
tcp.listen(listener, 16);
setInterval(() => {}, 60_000);
