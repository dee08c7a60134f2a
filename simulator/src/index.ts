export { simulatorClient, type SimulatorClient } from './client.js';
export { startSimulator, type Simulator, type SimulatorOptions } from './server.js';
export { openProxy, type Proxy } from './proxy.js';
export type { ProxyOptions } from './proxy-options.js';
export { makeCertificate } from './certificate.js';
export { builds, type BuildName } from './wire.js';
export type { Delivery } from './control/messages.js';
export type { Received } from './accounts.js';
export type { JournalEntry } from './journal.js';
