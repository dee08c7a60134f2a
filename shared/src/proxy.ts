/** The address of a session's proxy. Pure: both processes parse it with this file. */

export const proxyProtocols = ['http', 'https', 'socks4', 'socks5'] as const;
export type ProxyProtocol = (typeof proxyProtocols)[number];

export interface ProxyAddress {
  protocol: ProxyProtocol;
  /** A name or an address, IPv6 without brackets. */
  host: string;
  port: number;
}

const form = /^(https?|socks[45]):\/\/([^\s/?#@\\]+):(\d{1,5})\/?$/i;

/** Parses `protocol://host:port`. Null for every other text, also for one with a user name, a password or a path. */
export function parseProxyUrl(text: string): ProxyAddress | null {
  const [, protocol = '', name = '', digits = ''] = form.exec(text) ?? [];
  const port = Number(digits);
  if (!protocol || port < 1 || port > 65_535) return null;
  try {
    // As a web address, so that the parser converts 0x7f.1 and the like, and names with letters beyond ASCII.
    const { hostname } = new URL(`http://${name}:1`);
    const host = hostname.replace(/^\[|\]$/g, '');
    return host === '' ? null : { protocol: protocol.toLowerCase() as ProxyProtocol, host, port };
  } catch {
    return null;
  }
}

/** Returns the address as text, always in the same spelling. */
export const proxyUrl = ({ protocol, host, port }: ProxyAddress): string =>
  `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`;
