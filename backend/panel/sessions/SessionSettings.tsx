import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { posting, useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import type { Notice } from '../parts/NoticeLine.js';

type Settings = SessionView['settings'];

interface Fields extends Omit<Settings, 'rejectCalls' | 'recycleAboveMb' | 'pacing' | 'proxy'> {
  /** Messages a minute. */
  perMinute: string;
  rejects: boolean;
  answer: string;
  /** Empty: the installation's mark. */
  memory: string;
  /** Empty: no proxy. */
  proxyUrl: string;
  proxyUsername: string;
  /** Empty: the stored one stays. */
  proxyPassword: string;
}

const fieldsOf = ({ rejectCalls, recycleAboveMb, pacing, proxy, ...rest }: Settings): Fields => ({
  ...rest,
  perMinute: String(pacing.perMinute),
  rejects: rejectCalls.enabled,
  answer: rejectCalls.message ?? '',
  memory: recycleAboveMb === null ? '' : String(recycleAboveMb),
  proxyUrl: proxy?.url ?? '',
  proxyUsername: proxy?.username ?? '',
  proxyPassword: '',
});

/** The paths of errors about a part of the proxy: that of this form, and that of the API, whose rules check the proxy itself. */
const proxyPaths = (part: 'url' | 'username' | 'password'): string[] => [`proxy.${part}`, `settings.proxy.${part}`];

const proxyOf = ({ proxyUrl, proxyUsername, proxyPassword }: Pick<Fields, 'proxyUrl' | 'proxyUsername' | 'proxyPassword'>) => ({
  url: proxyUrl.trim(),
  username: proxyUsername === '' ? null : proxyUsername,
  ...(proxyPassword === '' ? {} : { password: proxyPassword }),
});

const bodyOf = (fields: Fields, { pacing }: Settings) => {
  const { rejects, answer, memory, perMinute, proxyUrl, proxyUsername, proxyPassword, ...rest } = fields;
  return {
    ...rest,
    pacing: { ...pacing, perMinute: Number(perMinute) },
    rejectCalls: { enabled: rejects, message: answer.trim() === '' ? null : answer },
    recycleAboveMb: memory === '' ? null : Number(memory),
    proxy: proxyUrl.trim() === '' ? null : proxyOf({ proxyUrl, proxyUsername, proxyPassword }),
  };
};

/** What a session does by itself: with messages, stories and calls that arrive, and with its browser. */
const SessionSettings: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  const save = posting(`/live/sessions/${session.id}/settings`, () =>
    onNotice({ tone: 'good', text: 'Saved. The settings apply within a few seconds.' }),
  );
  const form = useForm(fieldsOf(session.settings), (fields) => save(bodyOf(fields, session.settings)));
  const { fields, set } = form;
  return (
    <Form form={form} label="Save settings" testId="session-settings">
      <Field
        label="Messages a minute"
        name="pacing.perMinute"
        hint="0: as fast as WhatsApp takes them, which can cost the account"
      >
        <input
          type="number"
          min={0}
          step={1}
          required
          value={fields.perMinute}
          onChange={(event) => set({ perMinute: event.target.value })}
        />
      </Field>
      <Check
        label="Accept messages while the phone is offline"
        isOn={fields.queueIfOffline}
        onChange={(queueIfOffline) => set({ queueIfOffline })}
      />
      <Field label="Mark messages as seen" name="autoRead" hint="Once they are recorded. WhatsApp marks whole chats.">
        <select value={fields.autoRead} onChange={(event) => set({ autoRead: event.target.value as Settings['autoRead'] })}>
          <option value="off">never</option>
          <option value="private">those of private chats</option>
          <option value="all">those of private chats and groups</option>
        </select>
      </Field>
      <Check label="Record stories of others" isOn={fields.stories} onChange={(stories) => set({ stories })} />
      <Check label="Reject incoming calls" isOn={fields.rejects} onChange={(rejects) => set({ rejects })} />
      <Field label="Answer to a rejected call" name="rejectCalls.message" hint="Empty: none">
        <textarea
          value={fields.answer}
          onChange={(event) => set({ answer: event.target.value })}
          rows={2}
          disabled={!fields.rejects}
        />
      </Field>
      <Check
        label="Start a lost browser again"
        isOn={fields.autoReconnect}
        onChange={(autoReconnect) => set({ autoReconnect })}
      />
      <Field label="Restart an idle browser above" name="recycleAboveMb" hint="MB. Empty: the installation’s mark. 0: never.">
        <input type="number" min={0} step={1} value={fields.memory} onChange={(event) => set({ memory: event.target.value })} />
      </Field>
      <Field
        label="Proxy"
        name={proxyPaths('url')}
        hint="Such as socks5://proxy.example.com:1080; http, https and socks4 too. Empty: none. A change restarts the browser."
      >
        <input
          type="text"
          autoComplete="off"
          spellCheck={false}
          value={fields.proxyUrl}
          onChange={(event) => set({ proxyUrl: event.target.value })}
        />
      </Field>
      <Field label="User name at the proxy" name={proxyPaths('username')} hint="Empty: none">
        <input
          type="text"
          autoComplete="off"
          spellCheck={false}
          value={fields.proxyUsername}
          onChange={(event) => set({ proxyUsername: event.target.value })}
          disabled={fields.proxyUrl.trim() === ''}
        />
      </Field>
      <Field label="Password at the proxy" name={proxyPaths('password')} hint="It is never shown. Empty: it stays as it is.">
        <input
          type="password"
          autoComplete="new-password"
          placeholder={session.settings.proxy?.hasPassword ? '••••••••' : ''}
          value={fields.proxyPassword}
          onChange={(event) => set({ proxyPassword: event.target.value })}
          disabled={fields.proxyUrl.trim() === ''}
        />
      </Field>
    </Form>
  );
};
export default SessionSettings;

const Check: React.FC<{ label: string; isOn: boolean; onChange: (isOn: boolean) => void }> = ({ label, isOn, onChange }) => (
  <label className="cq-check">
    <input type="checkbox" checked={isOn} onChange={(event) => onChange(event.target.checked)} />
    <span>{label}</span>
  </label>
);
