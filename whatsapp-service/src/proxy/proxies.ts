import type { EngineError } from '../engine/engine.js';
import type { ProxyConnector } from './connect.js';
import { openForwarder, type Forwarder } from './forwarder.js';
import type { SessionProxy } from './session-proxy.js';

/** The proxies of sessions, for `browser-run.ts` and `supervision.ts`. */
export interface Proxies {
  /** Connects to WhatsApp through the proxy. Throws an EngineError: `PROXY_UNREACHABLE`, `PROXY_AUTH_FAILED`, or `USER_STOPPED` after `signal`. */
  check(proxy: SessionProxy, signal: AbortSignal): Promise<void>;
  /** Opens the proxy that a browser uses. `onDead` is called once if the session's proxy does not work any more. */
  open(proxy: SessionProxy, onDead: (failure: EngineError) => void): Promise<Forwarder>;
}

/** A proxy must lead here; what else the page needs is on other names of WhatsApp. */
const whatsapp = { host: 'web.whatsapp.com', port: 443 };

export function createProxies(connector: ProxyConnector): Proxies {
  const check = async (proxy: SessionProxy, signal: AbortSignal): Promise<void> => {
    (await connector.connect(proxy, whatsapp, signal)).destroy();
  };
  return {
    check,
    open: (proxy, onDead) => openForwarder({ connector, proxy, check: (signal) => check(proxy, signal), onDead }),
  };
}
