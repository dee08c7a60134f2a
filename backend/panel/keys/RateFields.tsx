import React from 'react';
import { figureOf } from '../words.js';
import Field from '../parts/Field.js';

/** The own rate limit of a new key, as its fields show it. */
export interface Rate {
  requests: string;
  seconds: string;
}

export const bodyOfRate = ({ requests, seconds }: Rate): object => {
  const limit = figureOf(requests);
  const window = figureOf(seconds);
  return { rateLimit: limit, rateWindowMs: limit === null || window === null ? null : window * 1_000 };
};

const RateFields: React.FC<{ fields: Rate; set: (changes: Partial<Rate>) => void }> = ({ fields, set }) => (
  <div className="cq-line cq-begin">
    <Field label="Requests in a window" name="rateLimit" hint="Empty: as the installation; 0: no limit">
      <input type="number" min={0} value={fields.requests} onChange={(event) => set({ requests: event.target.value })} />
    </Field>
    <Field label="Window in seconds" name="rateWindowMs" hint="Empty: as the installation">
      <input
        type="number"
        min={1}
        max={86_400}
        disabled={fields.requests.trim() === ''}
        value={fields.seconds}
        onChange={(event) => set({ seconds: event.target.value })}
      />
    </Field>
  </div>
);
export default RateFields;
