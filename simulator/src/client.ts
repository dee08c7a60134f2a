import type { z } from 'zod';
import type { ControlOperations } from './control/index.js';

type Arguments<I> = Record<never, never> extends I ? [input?: I] : [input: I];
type Answered<T> = T extends undefined | void ? null : T;

/** A typed client of the control API, with one method for each operation. Rejects with the simulator's error message. */
export type SimulatorClient = {
  [K in keyof ControlOperations]: (
    ...input: Arguments<z.input<ControlOperations[K]['input']>>
  ) => Promise<Answered<Awaited<ReturnType<ControlOperations[K]['run']>>>>;
};

export function simulatorClient(controlUrl: string): SimulatorClient {
  const call = async (name: string, input: object = {}): Promise<unknown> => {
    const answer = await fetch(`${controlUrl}/api/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(input),
    });
    const body = (await answer.json()) as { result?: unknown; error?: string };
    if (!answer.ok) throw new Error(`${name}: ${body.error}`);
    return body.result;
  };
  // The only cast: the proxy creates the method of an operation when it is read.
  return new Proxy(
    {},
    { get: (_, name) => (name === 'then' ? undefined : (input?: object) => call(String(name), input)) },
  ) as SimulatorClient;
}
