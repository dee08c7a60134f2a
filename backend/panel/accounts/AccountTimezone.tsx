import React, { useEffect } from 'react';
import type { AccountView } from '../../src/admin/views/account.js';
import { browserZone, post } from '../api.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import type { Notice } from '../parts/NoticeLine.js';
import ZoneField from '../parts/ZoneField.js';
import { zoneName } from '../words.js';

/** Sets the time zone of an account. */
const AccountTimezone: React.FC<{ account: AccountView; onNotice: (notice: Notice) => void }> = ({ account, onNotice }) => {
  const form = useForm({ timezone: account.timezone }, async ({ timezone }) => {
    await post(`/live/accounts/${account.id}/timezone`, { timezone: timezone.trim() });
    onNotice({ tone: 'good', text: `The time zone is ${zoneName(timezone.trim())} now.` });
  });
  const { fields, set } = form;
  useEffect(() => set({ timezone: account.timezone }), [account.timezone]);
  const here = browserZone();
  return (
    <Form form={form} label="Set time zone" testId="timezone">
      <ZoneField
        value={fields.timezone}
        onChange={(timezone) => set({ timezone })}
        hint="Its days, daily limits and months begin at midnight there."
      />
      {here !== fields.timezone && (
        <button type="button" className="cq-button" onClick={() => set({ timezone: here })}>
          Use {zoneName(here)}, as this browser
        </button>
      )}
    </Form>
  );
};
export default AccountTimezone;
