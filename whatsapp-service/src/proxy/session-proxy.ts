import { parseProxyUrl, type ProxyAddress, type WorkerSettings } from '@chasqui/shared';

/** The proxy of a session, as the backend sent it. It exists only in the memory of this process. */
export interface SessionProxy extends ProxyAddress {
  readonly username: string | null;
  /** Not enumerable: neither `JSON.stringify` nor an inspection of the object shows it. */
  readonly password: string | null;
}

/** An address that no connection reaches. A proxy that cannot be read must never mean that there is none. */
const unusable: ProxyAddress = { protocol: 'http', host: '', port: 0 };

export function sessionProxy({ url, username, password }: NonNullable<WorkerSettings['proxy']>): SessionProxy {
  const proxy = { ...(parseProxyUrl(url) ?? unusable), username };
  return Object.defineProperty(proxy, 'password', { value: password, enumerable: false }) as SessionProxy;
}

export function isSameProxy(one: SessionProxy | null, other: SessionProxy | null): boolean {
  if (one === null || other === null) return one === other;
  const fields = ['protocol', 'host', 'port', 'username', 'password'] as const;
  return fields.every((field) => one[field] === other[field]);
}
