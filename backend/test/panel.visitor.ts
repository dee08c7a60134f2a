/** What the panel answered. */
export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  json: () => Record<string, unknown>;
}

/** A browser in small: keeps its cookies, follows nothing, and says where it comes from as browsers do. */
export function createVisitor(url: string) {
  const cookies = new Map<string, string>();
  async function ask(method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}): Promise<Reply> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url + path, {
      method,
      body: body ?? null,
      redirect: 'manual',
      headers: { cookie, ...(method === 'GET' ? {} : { origin: url }), ...headers },
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';');
      const [name = '', value = ''] = pair.split('=');
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: () => JSON.parse(text) as Record<string, unknown>,
    };
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const data = { 'content-type': 'application/json', accept: 'application/json' };
  return {
    cookies,
    ask,
    get: (path: string, headers: Record<string, string> = {}) => ask('GET', path, undefined, headers),
    post: (path: string, body: unknown = {}, headers: Record<string, string> = {}) =>
      ask('POST', path, JSON.stringify(body), { ...data, ...headers }),
    send: (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
      ask('POST', path, new URLSearchParams(fields).toString(), { ...form, ...headers }),
  };
}
export type Visitor = ReturnType<typeof createVisitor>;
