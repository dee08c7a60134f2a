import React from 'react';
import Field from '../parts/Field.js';

/** When a new key expires. `default`: as the installation is set. */
export interface Expiry {
  expiry: 'default' | 'never' | 'at';
  /** The time of `at` as the browser writes it, in its zone. */
  expiresAt: string;
  autoRotation: boolean;
}

/** The body's fields. The rules of the installation decide about those that are absent. */
export const bodyOfExpiry = ({ expiry, expiresAt, autoRotation }: Expiry): object => {
  if (expiry === 'default') return {};
  if (expiry === 'never') return { expiresAt: null };
  const at = new Date(expiresAt);
  return { expiresAt: Number.isNaN(at.getTime()) ? expiresAt : at.toISOString(), autoRotation };
};

const ExpiryFields: React.FC<{ fields: Expiry; set: (changes: Partial<Expiry>) => void }> = ({ fields, set }) => (
  <>
    <Field label="Expires" name={fields.expiry === 'at' ? [] : 'expiresAt'}>
      <select value={fields.expiry} onChange={(event) => set({ expiry: event.target.value as Expiry['expiry'] })}>
        <option value="default">as keys of this installation do</option>
        <option value="never">never</option>
        <option value="at">at a time</option>
      </select>
    </Field>
    {fields.expiry === 'at' && (
      <>
        <Field label="Expires at" name="expiresAt" hint="In the time zone of this browser.">
          <input
            type="datetime-local"
            required
            value={fields.expiresAt}
            onChange={(event) => set({ expiresAt: event.target.value })}
          />
        </Field>
        <label className="cq-check">
          <input
            type="checkbox"
            checked={fields.autoRotation}
            onChange={(event) => set({ autoRotation: event.target.checked })}
          />
          <span>Create a successor before it expires</span>
        </label>
      </>
    )}
  </>
);
export default ExpiryFields;
