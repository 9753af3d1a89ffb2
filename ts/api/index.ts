/**
 * TCP Stealth for Node programs, without LD_PRELOAD: connections whose SYN proves that the client knows a secret, and
 * servers that are a closed port to everybody else. Both need a control process (`knockify control`) in the same
 * network namespace, and no privilege of their own. They work in worker threads too, and in a program that
 * libknockify.so is preloaded into.
 */
export { type ConnectStealthOptions, connectStealth } from './connect.ts';
export { type NetworkError, StealthError } from './errors.ts';
export { type ListenStealthOptions, listenStealth } from './listen.ts';
export type { Secret } from './secret.ts';
