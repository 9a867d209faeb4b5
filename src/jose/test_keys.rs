//! Keys made for the tests alone, and tokens signed by them.

use serde_json::{Map, Value, json};

use super::{Algorithm, Jws, KeySet, SigningKey, Verified};

/// RSA, 2048 bits, PKCS#8.
pub(crate) const RSA: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEuwIBADANBgkqhkiG9w0BAQEFAASCBKUwggShAgEAAoIBAQCfjurGiiDZjIrh
RN152b9AQnwSUVhSqKL06mahtMCJwXCVKjSW/DjbJ/qlnm++2RTjPOcNEhC14VYI
0/b3+L1dU1RnVC+HhUX4NZw3RbC4wSo49It4IPlNbEOP1HrR2SVeJEcAkKGNtQZU
oD7rnB++4Llo0UZusku+vHd2EdMw49VsHlOakKlOn/470XhF+ffmBgtlcyS447TF
L1XqDYWatYnQO6L3e4+Srn2PYlJxNvbtjfVlZHL8Lz4dt6UJIRYBCEFSCVKRqCrj
OlBbCr9/FrUiu6sFTtxpPEHc//loP+J+AfEpQlg/lvFVogeQBJa3q8+EWvCbBevt
oRouTbmjAgMBAAECgf9dXXbQtmlPSe36SbgcLrS6siy0i0tWrIpH+UeuixYfH0Vb
Nr2PNaFCnFV0+qc1n2rMwKM/nFKRTkoJrTHWtRzmf0KxM/g1h/oDEI7yLzvTRs5u
HxEXBwFA5kw8ELMA5Q+SOg6FRhx1z0R+pt/EMcphs+rKat4yTojQ4EQ6OQDBzTzB
ihQLGUJUZ9OlGG8tSpkmn7MgQg8cQSkt/U83rkUzhqJBnCVTQKbFawDThFgTWlH1
r0bi7jbNVcICwDpeYvAfLV80QfiMBIILOHQ4aznKUPCcODpikTo1cG3GHuu8Rz0+
b+BLWppHkUZqbVH3F58MYbD/OUOfvuojRGO+axECgYEAymqbiqUnKH5krCfbWzh0
p0lcirvFLybgsqWIjNrwIshzqRd04rAZt4YdJ2LdPvrHToVPe9OKbfV+FZbsjyX9
pF/zQHcTTY8q3czc3vtWFoFsksbaVeKp2q0AgryLoGomOihVtJG0NLFGDkZMCJv7
MM0Ec1zjqR9e5NEkNau2y+sCgYEAycvjy2F08uwl3MIQo0CTB2WYqyFgvZIo0z14
1Vn7vZjX3P4Vs2bUYhdi5aZVRr5jXFZ2dzn/yVQF/Y3I9/J+hO0ap1ajWWx2tphd
9ZOIfZFqrkbCKg/apX5BfiocWI3+sxAoyNfCm873EvBmguWpCWSq4X0O7dpPonuJ
UjSl8ykCgYB3qf66QFid/9rUS9vKWd3c5+nluowgDAPamTHY07YTWh3GYS+gtCr/
7DFgD3psuSUKrpUGx1CXIQKhENBY8ES64F6WRc8Lkw/sgCgzSrLiKzFctGJvU8jG
lnAu2fhRpW9kAmRok5rNa9/WoIhirpQZjZqL+OY+HWWkMGAPuqwecQKBgAH0isl+
sT5lUVyZOMYMKyCIOHl4AlLz5pddYh1XGNxWbckDYTxyw54LsfadrPfZgmbzo4Q2
OKc/vCsfw5G7dMRe88IpUb3dEi1kvoxRmKH21bzIjLsRmkG+Pm41hD7LaWtcvbhs
dsNBtx0k3SlphkDEC+/RYWKmmdzuK39zaSQ5AoGBAJ20ROdHyDB/sWWH2cmvycN5
HZrzEnlx3IofgxjmDC3/MQdz+ewxPu9q+/Qq5tBPVi1/AtSSOEYfw6UCPlSn8xui
PI/U874/x+l74gooRgWQYB+rrnEnIL8Y80XuO85wSxIuzPT9mXsV7gb/lVb2XmGh
bKO8Bd7mTy7Ok0X/2lAV
-----END PRIVATE KEY-----
";

/// Another one.
pub(crate) const RSA_OTHER: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQDpRT1e0b1eneyk
UZxReeKGCsc0xT4vOJYpe0doFIlQozO6+KmFNwSXH/4KnEq0V003GAFllL4nHmxh
0sISw7hJNKmtXVzTlQiLLf8cY7VQRtxxlZR06i/6wzu2OycW1f0PzQz9SBGOqPI3
95jNeAO/plG3q7+HduN+iWNgbvEXogaXsCGu5D8MS63cJIYRzUCSxJKkQSQYiQcH
/7N/CqQIs19oGusGXPgAq4aiyZ7/WhQDpYmOFTL24xRfabBhbe7nP7/s+SAmAjjS
00P5rNdpr4ENxEFcCfThSzZEa1NiR76yPcDLYCTZVIEfcj+fad/aWdheMsgV+CuX
dWkSfsuVAgMBAAECggEADo01cBwM4GFhIPn/UpzUGvECrsHMKIVy5pkMYgt/6mIX
6Ma4ynjdZjEGd7J6vYfBpxluAuB1wTp2X97WIPYJIbXxjMFJeGBwZUBEDQkSRzT4
bPR8C5QNVKsHp01G2beVHv53XDh58eiLnZ6qL00YjMTLDbZezwxFUkAvTRV2oDbq
jPUaXmMZvZ5VStMrpSm2e3QaAm0PDSzrjrQFC8eG4viS1aNDiWHt7xSYfMuTTaxL
WAc1C4U//4W4qVti9mkOP150odXHKEdOGoOhze54ir5SfoQxbWbz+TmSML6GFSrE
BFZnSTiy7IYf/CuFaQf8RzF+r+i3mQhPIndHf0b26QKBgQD39LOdilV4CBKBiluV
zD/jx7PGgixOywv20Vy1acIVlzrISnsMkTwm+IotxGvMy5uC0zgXoG08bDLXgUVE
5fnvqazPcW8QtT8IeFqL6kkMmVgdovLYqbt1UeI5GVl3HOZz5096BKmTJzBiSa0I
uYcu6GON1L50K2HstalQyyM/HQKBgQDw1pML1nFuwffmIUIHZ2wKVHYBv5wLJ9NG
PtW6q9hRa/KNTX17Ap3kjW1wo6Bc2u374vMZfy27CYInmpbt1dd856YRuv471VyE
giAoEJ/8ZO2IV0jzgAQNfU+CLnQSnKX9H6iXC5gspaFHUKijxcjPdeHSiN2SyQt8
/3vaAEm82QKBgQCxeVhGXokmTMDSL3G2GmdwZbPrVajZDMQXeWrd/kCIq6HLUmQY
bqubSTG96GUwRFuenAf+ATmukdMiJMirs9/dBplGMW7JirD/IwXMN3jpp6hGLieb
pIEkS+Ob8uTyOKFKPDnKoCOvy9D5yLotEH4NuQ/oqGlZROPmRXBW/87OkQKBgQDY
izYf2KqZOZJZuuGRoq4EA7kvDUeSyDYw3OJzO3v+iZ7G6ju+1LV/AKK8OoM/uiFs
77xA2pcVqxD55wd5xWJBjk9FdeqNhePvyMh8/aW73Euu4TxYpGwAbQGGPZpj+bFN
jJ+bX/NtgWcnpiBbUMSjtIxdLm57QoUv2M9VThj+0QKBgQCkhEsWCIALYEZmSabP
S+woVTgOqfn7T3jYdc6XlWe3W8wAsGysBcufeK2pbZLK85oHnX6ppJ0MxoXHdj78
SqM3UYP+PUjDuOCnyJFwJJ7ueTwhngxLrSLYFReVL855CuC0WwZZauER+I7rlrHV
EOscmoZyIxOT7dK1ZGnNIOTS0g==
-----END PRIVATE KEY-----
";

/// [`RSA`] as PKCS#1.
pub(crate) const RSA_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIEoQIBAAKCAQEAn47qxoog2YyK4UTdedm/QEJ8ElFYUqii9OpmobTAicFwlSo0
lvw42yf6pZ5vvtkU4zznDRIQteFWCNP29/i9XVNUZ1Qvh4VF+DWcN0WwuMEqOPSL
eCD5TWxDj9R60dklXiRHAJChjbUGVKA+65wfvuC5aNFGbrJLvrx3dhHTMOPVbB5T
mpCpTp/+O9F4Rfn35gYLZXMkuOO0xS9V6g2FmrWJ0Dui93uPkq59j2JScTb27Y31
ZWRy/C8+HbelCSEWAQhBUglSkagq4zpQWwq/fxa1IrurBU7caTxB3P/5aD/ifgHx
KUJYP5bxVaIHkASWt6vPhFrwmwXr7aEaLk25owIDAQABAoH/XV120LZpT0nt+km4
HC60urIstItLVqyKR/lHrosWHx9FWza9jzWhQpxVdPqnNZ9qzMCjP5xSkU5KCa0x
1rUc5n9CsTP4NYf6AxCO8i8700bObh8RFwcBQOZMPBCzAOUPkjoOhUYcdc9Efqbf
xDHKYbPqymreMk6I0OBEOjkAwc08wYoUCxlCVGfTpRhvLUqZJp+zIEIPHEEpLf1P
N65FM4aiQZwlU0CmxWsA04RYE1pR9a9G4u42zVXCAsA6XmLwHy1fNEH4jASCCzh0
OGs5ylDwnDg6YpE6NXBtxh7rvEc9Pm/gS1qaR5FGam1R9xefDGGw/zlDn77qI0Rj
vmsRAoGBAMpqm4qlJyh+ZKwn21s4dKdJXIq7xS8m4LKliIza8CLIc6kXdOKwGbeG
HSdi3T76x06FT3vTim31fhWW7I8l/aRf80B3E02PKt3M3N77VhaBbJLG2lXiqdqt
AIK8i6BqJjooVbSRtDSxRg5GTAib+zDNBHNc46kfXuTRJDWrtsvrAoGBAMnL48th
dPLsJdzCEKNAkwdlmKshYL2SKNM9eNVZ+72Y19z+FbNm1GIXYuWmVUa+Y1xWdnc5
/8lUBf2NyPfyfoTtGqdWo1lsdraYXfWTiH2Raq5GwioP2qV+QX4qHFiN/rMQKMjX
wpvO9xLwZoLlqQlkquF9Du3aT6J7iVI0pfMpAoGAd6n+ukBYnf/a1Evbylnd3Ofp
5bqMIAwD2pkx2NO2E1odxmEvoLQq/+wxYA96bLklCq6VBsdQlyECoRDQWPBEuuBe
lkXPC5MP7IAoM0qy4isxXLRib1PIxpZwLtn4UaVvZAJkaJOazWvf1qCIYq6UGY2a
i/jmPh1lpDBgD7qsHnECgYAB9IrJfrE+ZVFcmTjGDCsgiDh5eAJS8+aXXWIdVxjc
Vm3JA2E8csOeC7H2naz32YJm86OENjinP7wrH8ORu3TEXvPCKVG93RItZL6MUZih
9tW8yIy7EZpBvj5uNYQ+y2lrXL24bHbDQbcdJN0paYZAxAvv0WFippnc7it/c2kk
OQKBgQCdtETnR8gwf7Flh9nJr8nDeR2a8xJ5cdyKH4MY5gwt/zEHc/nsMT7vavv0
KubQT1YtfwLUkjhGH8OlAj5Up/MbojyP1PO+P8fpe+IKKEYFkGAfq65xJyC/GPNF
7jvOcEsSLsz0/Zl7Fe4G/5VW9l5hoWyjvAXe5k8uzpNF/9pQFQ==
-----END RSA PRIVATE KEY-----
";

/// RSA, 1024 bits.
pub(crate) const RSA_1024: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBANC1cR/FWQqY/iJi
yCKmX41MKrYTsVHJEeonG/DIbZKvunVHsy5JrTU6WZdjtFllt53bxwLK0T2sAMtP
RDp2UbAurmjTKYG3lwDFbvAUty8jdYzwN/+w/kXw5piSK326UxpF8QyYYqllBT+5
XPzspdT+2LNkYYxGDRAXjLxsRE8hAgMBAAECgYAQg+sZuoIbRpQFoI95vnSdN8PB
eLl1YVXbk5CwcwvIqcM1eKEDLq1YIu/n/OnOkTAAe925qNb57Fx7uiAKCEbaZ31S
zfbhTQf51PEXFg7w73A051ytb03iU4HHbOcMPQK8ULEkJ/DucfDVAKNdo6pUCZkP
cnTWqnFjfFScOAUdiQJBAPyTOg7Ww4M/b0LsjTvGM6m39sMuySlk0SF09laASJdS
BI3pzNUIgfft/xl9JAITthbs+WbNJXUKmdivoHFc0N8CQQDTifCz2e/eYuEjMSHU
AO1WvBa9fqjCFGPb+iCrTlj4zLGjOUMQ/zUB6JtISPpuxK8NL4ApAXCgPFHUO8L+
4t//AkEAmQkny2frTLH52yXzKT2dff8eQAMwFamlYU06GQ1fbnhelBIObyHZhfyp
bas6TxvcX6W0M8qnIHSM5RL89tMTJwJAYw3UiGMkzx2+DpyTGpLUkCjC/TiyDS8/
E2KsqYqmXtp609Occ/kM+TfSfqatnfC7h5EWkhz6gA2+w4K4bGIQQQJAL9nKglyl
qTVc08UmXrtxPwN2kBKJ/O72bULpwhqx5MPLxI/ihKUVqcU0hj3g7vXuFyxq0nLi
MHqnIrhLrL5jNg==
-----END PRIVATE KEY-----
";

/// P-256, PKCS#8.
pub(crate) const P256: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbrU/Shz2i0n1Kk0O
zWtmO9q43YqUYJ6bamPgIB8W/d6hRANCAASeTDrlUEfyq4maALLL2Nc7uo+uXcJ+
w1Iov89f8EORA1fhELDDpf6iUwJWf2N8WwMEe5QpAzjLbG4MhaR2hHfz
-----END PRIVATE KEY-----
";

/// [`P256`] as SEC 1.
pub(crate) const P256_SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIG61P0oc9otJ9SpNDs1rZjvauN2KlGCem2pj4CAfFv3eoAoGCCqGSM49
AwEHoUQDQgAEnkw65VBH8quJmgCyy9jXO7qPrl3CfsNSKL/PX/BDkQNX4RCww6X+
olMCVn9jfFsDBHuUKQM4y2xuDIWkdoR38w==
-----END EC PRIVATE KEY-----
";

/// P-384, PKCS#8.
pub(crate) const P384: &str = "\
-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCWr8vop6d6FbMptibV
0PyWE9qcBuAdnwHY733FTukexy2sLVOxN/DSHhY5x0JdjqWhZANiAATUIO+x4ZQA
ANPHRyPQa5FQr+V4yKu30B73021DcPZ+04lQICUUMlT95iTkQqh24CP+eI46zJ5r
cmrBwfs2u116I5LSf+SuaL1oxXlvfPZNq/B1izyVH7jGic37y1s4VOM=
-----END PRIVATE KEY-----
";

/// Ed25519, PKCS#8.
pub(crate) const ED25519: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICi05soIvaeR17aOLT1g5MsEU1eQNya1ykOYrx1SoZIg
-----END PRIVATE KEY-----
";

/// The public half of [`RSA`], with nothing optional.
pub(crate) fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "n": "n47qxoog2YyK4UTdedm_QEJ8ElFYUqii9OpmobTAicFwlSo0lvw42yf6pZ5vvtkU4zznDRIQteFWCNP29_i9XVNUZ1Qvh4VF-DWcN0WwuMEqOPSLeCD5TWxDj9R60dklXiRHAJChjbUGVKA-65wfvuC5aNFGbrJLvrx3dhHTMOPVbB5TmpCpTp_-O9F4Rfn35gYLZXMkuOO0xS9V6g2FmrWJ0Dui93uPkq59j2JScTb27Y31ZWRy_C8-HbelCSEWAQhBUglSkagq4zpQWwq_fxa1IrurBU7caTxB3P_5aD_ifgHxKUJYP5bxVaIHkASWt6vPhFrwmwXr7aEaLk25ow", "e": "AQAB"})
}

/// The public half of [`RSA_OTHER`], with nothing optional.
pub(crate) fn rsa_other_jwk() -> Value {
    json!({"kty": "RSA", "n": "6UU9XtG9Xp3spFGcUXnihgrHNMU-LziWKXtHaBSJUKMzuviphTcElx_-CpxKtFdNNxgBZZS-Jx5sYdLCEsO4STSprV1c05UIiy3_HGO1UEbccZWUdOov-sM7tjsnFtX9D80M_UgRjqjyN_eYzXgDv6ZRt6u_h3bjfoljYG7xF6IGl7AhruQ_DEut3CSGEc1AksSSpEEkGIkHB_-zfwqkCLNfaBrrBlz4AKuGosme_1oUA6WJjhUy9uMUX2mwYW3u5z-_7PkgJgI40tND-azXaa-BDcRBXAn04Us2RGtTYke-sj3Ay2Ak2VSBH3I_n2nf2lnYXjLIFfgrl3VpEn7LlQ", "e": "AQAB"})
}

/// The public half of [`RSA_1024`], with nothing optional.
pub(crate) fn rsa_1024_jwk() -> Value {
    json!({"kty": "RSA", "n": "0LVxH8VZCpj-ImLIIqZfjUwqthOxUckR6icb8Mhtkq-6dUezLkmtNTpZl2O0WWW3ndvHAsrRPawAy09EOnZRsC6uaNMpgbeXAMVu8BS3LyN1jPA3_7D-RfDmmJIrfbpTGkXxDJhiqWUFP7lc_Oyl1P7Ys2RhjEYNEBeMvGxETyE", "e": "AQAB"})
}

/// The public half of [`P256`], with nothing optional.
pub(crate) fn p256_jwk() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "nkw65VBH8quJmgCyy9jXO7qPrl3CfsNSKL_PX_BDkQM", "y": "V-EQsMOl_qJTAlZ_Y3xbAwR7lCkDOMtsbgyFpHaEd_M"})
}

/// The public half of [`P384`], with nothing optional.
pub(crate) fn p384_jwk() -> Value {
    json!({"kty": "EC", "crv": "P-384", "x": "1CDvseGUAADTx0cj0GuRUK_leMirt9Ae99NtQ3D2ftOJUCAlFDJU_eYk5EKoduAj", "y": "_niOOsyea3JqwcH7NrtdeiOS0n_krmi9aMV5b3z2TavwdYs8lR-4xonN-8tbOFTj"})
}

/// The public half of [`ED25519`], with nothing optional.
pub(crate) fn ed25519_jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "HnWG8ykhmmtekCR8wlc63ZJBav_kjm_HvkGKMm4kDOQ"})
}

/// A P-521 key of which only the public half is kept.
pub(crate) fn p521_jwk() -> Value {
    json!({"kty": "EC", "crv": "P-521", "x": "AOq_511TfTwvBkGhbMuNA-C2n2SVFb7iCPTabJmLS44omm_BC8wM_KLPpu8OVtWLpWQnLyuOWLwItB08xOT2IFgl", "y": "Aak3-EanRIiIfX0JTWJioNbvRnoJCpyoGyZ350aL6rpXJ_8TtLAP2KZH1QK-1QwX3-ewklfG8Ne0NtBUxmsK2WNM"})
}

/// A token by [`p521_jwk`] with the claims `{"iss":"https://op.example"}`.
pub(crate) const P521_TOKEN: &str = "eyJhbGciOiJFUzUxMiJ9.eyJpc3MiOiJodHRwczovL29wLmV4YW1wbGUifQ.Af67aovO8iYP9usgFltBRTYjCN4-Be6ONLIRwcnhWKyQoxdQw3YvElSnBoXIF-MZCZeT_q1g_ZVDEjm27T6etc-UAQecS3TBCqExDap-f9SX43QYAoCC123sMzucUM5x-31BOMkt7mKGX8TSK54IXwU5CFcwYu4y1T-Yqh8Yc47sume7";

/// Tokens by [`RSA`] with PS256 and a salt of 0, 20, 32 and 33 bytes. Only 32 is right.
pub(crate) const PSS_SALTS: [(usize, &str); 4] = [
    (
        0,
        "eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJodHRwczovL29wLmV4YW1wbGUifQ.ArcSA0yG-hbHllSNyJtAYfupUJT9p0tyt4OhMCTor2vtEzRtsbpwR-u4DDYPyR4KFRiBS_6P7ccIHqHgfsY6YsaUuN3BRZZMTHXwvKM9sUmCql-k3e5WSNt0RGinoMVkJIbAQj9IpmuPhuzmYDJdLviwCyQZq4PCmMBnTtYBn2gUYFXwKUHE9-bc4iNvRk3jK7lwGBtDjucn_GpUIaqlJow7NcFTwfx8H77UOgtFAKTFyCJP6lmuqXwdEJGyR_XeWjRHCUKaOtJISumxjCucDwRtdAgp79cMYTqIbL9AL7F0w8Aka8DCznm-fQnwJmT_Y6HFxMkSasUDQIbqqvkSZg",
    ),
    (
        20,
        "eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJodHRwczovL29wLmV4YW1wbGUifQ.QLcOmT3pgsuGmO3iW58UlRmZGhqW-33WSlG38OwkLc0EV_mOA1x6MhzW58rlEeAmQsLtQtzlxXxYg6ZZOEiRxAc4aUF-Hn3p3K-N4vmXnVl1XaBEV4eMo3g0HTYYAR1itqlYxBysDhgSuSdBNul2F7mEuI_9QK4bZvn0PGkwTIxG2rmCwwX-fy0tlBTw8FQmHEk30IcWfcNuzlbTUv_fqrv4Ip39x1vJKWfNYLF53v66-U4AB1Tlnw3FuAqt2GGmp6BywtGZiJ9DZKlhMRFqbeDEU2ISXJ7CQ2ApMng63liGnZjKgQo-eTQxo18NoL8WLS7VuK0RsUl50Ee_-Fcyyw",
    ),
    (
        32,
        "eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJodHRwczovL29wLmV4YW1wbGUifQ.TUhg06xksvMLm0HPv2x-Z-_ri-5A1Vq3gm1Fz6Aqrg6SELVTsSAK5gsRpj57vAmYAGFF-lME_pfY4FpxthiM9kHM55h0bWsGj59-SdxL1pnXvkD6xWTlQct58dKSlyiyYGyZiQaLDoVn2VNElVrlcnG4jszqQgwQayheePEe8D0GhvR2xmqoSsWU9kLm_jyR9pRLhG227qGmIIdtSkyuR24TCiTMIby-A5GxxmVUJwh8eVxvozqduR5oYZYP6zyu3YWV5zyery0gbeXHfKaSwSGf6wOywgd-FO-kNNM4ZaE_MIDe_10-qr78oE9AzLXiGdTHuFGBRjmJhti0CzyQ-A",
    ),
    (
        33,
        "eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJodHRwczovL29wLmV4YW1wbGUifQ.mI_YmOpx35L9h0u4KBFniSvk3RumEw7UlYrks2e6PWczhDTxIsCnFltBt3ez0b2h5LLJWeUBqx1rf4kmLizBtZR9NVf4r9HtNBX8eiOaC2uVfWPvYhs70_F-O20QQN0boX66d1qnmLc9N_lh1V5lA2aOPRRuYMMcnzBWln7X2FaYgyEKSlI0-zaQNYaeySDOE8m_qsnQlHRcI5TEKjSEO4bQ09fX3138_HqJg34UlxRcEeml0kyYFJofBgK-BFT2QsZ_UDodT4S-U540oxz6IgqDbm2LhdX17ws1iaCsXog97Zjeyjd7Lhl3R85kOyvP4Qia9qGmbR6QHi40ZL69rw",
    ),
];

/// A token by [`RSA_1024`], correctly signed.
pub(crate) const RSA_1024_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL29wLmV4YW1wbGUifQ.cP9LYS3I7Tzqp9MW4ivG1mimq7PbTVtL6roPbSrcHb42VEpGDQy8aknDL1XCu5990ZTHQy9vdIu1nS3USl8PiuzOLs0vjM8bLAjEmDDIIzBCYgLs36iF2AK1Azu6H9yGc7-r1jei909Pj8lBWPZiy-EmlRdSWvPmpuNRa2ri8yY";

/// A JWK Set of these keys.
pub(crate) fn key_set(keys: &[Value]) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// A JWK with further members.
pub(crate) fn with(mut jwk: Value, members: Value) -> Value {
    let added = members.as_object().unwrap().clone();
    jwk.as_object_mut().unwrap().extend(added);
    jwk
}

/// A token with any header and payload, signed with `pem`.
pub(crate) fn token(pem: &str, algorithm: Algorithm, header: &Value, payload: &[u8]) -> String {
    SigningKey::from_pem(pem, algorithm, None).unwrap().compact(header, payload).unwrap()
}

/// Claims whose signature was verified, with the header `typ` as given.
pub(crate) fn verified(header_type: Option<&str>, claims: &Map<String, Value>) -> Verified {
    let mut header = json!({ "alg": "EdDSA" });
    if let Some(header_type) = header_type {
        header["typ"] = header_type.into();
    }
    let payload = serde_json::to_vec(claims).unwrap();
    let text = token(ED25519, Algorithm::EdDSA, &header, &payload);
    Jws::parse(&text).unwrap().verify(&key_set(&[ed25519_jwk()]), &[Algorithm::EdDSA]).unwrap()
}
