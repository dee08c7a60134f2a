// Settings of this page, stored in the browser as WhatsApp does.
const preference = (name) => ({
  get: () => localStorage.getItem(name) !== 'false',
  set: (value) => localStorage.setItem(name, String(Boolean(value))),
});
const preferences = (names) =>
  Object.fromEntries(
    names.flatMap((name) => {
      const { get, set } = preference(name);
      return [
        [`get${name}`, get],
        [`set${name}`, set],
      ];
    }),
  );
__d('WAWebUserPrefsGeneral', () =>
  preferences(['AutoDownloadAudio', 'AutoDownloadDocuments', 'AutoDownloadPhotos', 'AutoDownloadVideos']),
);
__d('WAWebUserPrefsNotifications', () => preferences(['GlobalOfflineNotifications']));

// Phone numbers: enough dialling codes to distinguish their lengths.
const shortCodes = ['1', '7'];
const twoDigitCodes =
  '20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98'.split(
    ' ',
  );
function findCC(number) {
  const digits = String(number).replace(/\D/g, '');
  return [1, 2, 3]
    .map((length) => digits.slice(0, length))
    .find((code) => shortCodes.includes(code) || twoDigitCodes.includes(code) || code.length === 3);
}
__d('WAPhoneFindCC', () => ({ findCC }));
__d('WAWebPhoneUtils', () => ({
  formattedPhoneNumber(id) {
    const digits = String(id).split('@')[0];
    const code = findCC(digits);
    return `+${code} ${digits.slice(code.length).replace(/(\d{2})(\d+)(\d{4})$/, '$1 $2-$3')}`;
  },
}));
__d('WAWebL10N', () => ({ getRegion: () => 'US' }));
__d('WAWebCountriesNativeCountryNames', () => ({
  countryCodesIso: Object.fromEntries(
    'AR BR CL CO DE EC ES FR GB IN IT MX PE PT US UY VE'.split(' ').map((code) => [code, code]),
  ),
}));
