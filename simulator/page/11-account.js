// What WhatsApp allows the account, and the dialog that a new account gets. Only the newest build shows them.
let reachOutLocked = false;
// What the page keeps of its account in the browser's database.
const accountPrefs = new Map();
const reachOutKey = 'WAReachoutTimelock';
const challengeKey = 'WAIntegrityChallengeState';
function setReachOut({ locked, until }) {
  reachOutLocked = locked;
  if (locked && until)
    accountPrefs.set(reachOutKey, { is_active: true, time_enforcement_ends: until, enforcement_type: 'DEFAULT' });
  else accountPrefs.delete(reachOutKey);
}
line.on('reach_out', setReachOut);
let challenge = null;
function setChallenge(asked) {
  challenge = asked;
  if (!asked) return accountPrefs.delete(challengeKey);
  const stored = asked.type === 'PASSKEY' ? { passkey_challenge_base64: asked.request.challenge } : { captcha_site_key: 'key' };
  accountPrefs.set(challengeKey, { challenge_type: asked.type, ...stored });
}
/** While the page shows the dialog for a passkey, it sends nothing. */
async function dialogClosed() {
  while (newest && accountPrefs.get(challengeKey)?.challenge_type === 'PASSKEY')
    await new Promise((next) => setTimeout(next, 50));
}
line.on('challenge', setChallenge);
// The page learns of a temporary ban from the answer to its login, or while it is connected; then it shows nothing else.
const BackendEventBus = {
  triggerTemporaryBan(ban) {
    retired = true;
    Stream.set({ mode: 'BANNED', ban });
    line.close();
  },
};
line.on('temporary_ban', ({ code, expire }) => BackendEventBus.triggerTemporaryBan({ banned: true, code, expire }));
__d('WAWebBackendEventBus', () => ({ BackendEventBus }));
const news = { isShown: false, timer: null };

async function readAccount() {
  const { challenge: asked, ...reachOut } = await line.request('reach_out');
  setReachOut(reachOut);
  setChallenge(asked);
}

/** A device that was just linked gets the dialog. If it is not answered, WhatsApp logs the device out. */
function showNews() {
  if (!lazy || options.newsMs === 0) return;
  news.isShown = true;
  news.timer = setTimeout(() => void Socket.logout(), options.newsMs);
}

if (lazy) {
  __d('WAWebReachoutTimelockUtils', () => ({
    isUserReachoutTimelocked: () => reachOutLocked,
    REACHOUT_TIMELOCK_IDB_KEY: reachOutKey,
  }));
  __d('WAWebGetReachoutTimelockJob', () => ({
    fetchReachoutTimelock: async () => setReachOut(await line.request('reach_out_lock')),
  }));
  __d('WAWebWhatsNewNux', () => ({
    createWhatsNewNux: () => ({
      shouldShow: () => news.isShown,
      dismiss() {
        news.isShown = false;
        clearTimeout(news.timer);
      },
    }),
  }));
  __d('WAWebModalManager', () => ({ ModalManager: { close: () => {} } }));
}
// Since 2026-09 a page of a linked account may have to prove that its owner is there. It shows a dialog until that is done. The dialog has a button that
// signs with a passkey and submits the result, and one that logs the device out. No person is there to press them.
if (newest) {
  __d('WAWebUserPrefsIndexedDBStorage', () => ({
    userPrefsIdb: { get: (key) => accountPrefs.get(key), remove: async (key) => void accountPrefs.delete(key) },
  }));
  __d('WAWebIntegrityChallengeUtils', () => ({
    INTEGRITY_CHALLENGE_IDB_KEY: challengeKey,
    async performPasskeyAssertion(asked) {
      const { rpId, timeout, userVerification } = challenge.request;
      const prf = { eval: { first: new TextEncoder().encode('whatsapp-challenge') } };
      const publicKey = { challenge: fromBase64Url(asked), rpId, timeout, userVerification, extensions: { prf } };
      const credential = await navigator.credentials.get({ publicKey });
      const { clientDataJSON, authenticatorData, signature } = credential.response;
      const first = credential.getClientExtensionResults().prf?.results?.first;
      return {
        credential_id: credential.id,
        raw_id: toBase64Url(credential.rawId),
        type: credential.type,
        authenticator_data: toBase64Url(authenticatorData),
        client_data_json: toBase64Url(clientDataJSON),
        signature: toBase64Url(signature),
        prf_output: first ? toBase64Url(first) : null,
      };
    },
  }));
  // Loaded when the person has signed.
  __lazy('WAWebMexIntegrityChallengeResponse', 'WAWebMexIntegrityChallengeResponse', () => ({
    mexSubmitPasskeyChallengeResponse: ({ credential_id, client_data_json, authenticator_data, signature, prf_output }) =>
      line.request('challenge_response', {
        given: {
          id: credential_id,
          clientDataJSON: client_data_json,
          authenticatorData: authenticator_data,
          signature,
          prf: prf_output,
        },
      }),
  }));
}
