import type { Socket } from 'node:net';

export interface ProxyOptions {
  /** By default `http`: the method CONNECT. */
  protocol?: 'http' | 'socks4' | 'socks5';
  /** Required if both are set. SOCKS 4 knows only the name. */
  username?: string;
  password?: string;
  /** 0: a free port. */
  port?: number;
}

/** What the two kinds of proxies share. */
export interface ProxyContext {
  options: ProxyOptions;
  asked: string[];
  refused: number;
  /** Connects to the simulator, and calls back when `near` should be answered. Null: the target is not WhatsApp's. */
  connect: (target: string, near: Socket, answer: (far: Socket | null) => void) => void;
}
