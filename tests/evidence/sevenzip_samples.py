"""7-Zip archives: small real ones of py7zr 1.1.4, and a writer whose every number can be a lie."""

from __future__ import annotations

import base64
import lzma
import struct
import zlib

FILES = [("logs/mail.log", b"expunge\n" * 40), ("empty", b""), ("ü.txt", b"second")]
WRITTEN = {
    "LZMA2 behind a converter, in one block, with its list packed": "H+sCUCma9-5+_TVr~m)}00000761SM00000)dlmp-~mMd7F_@`o(e@!12bGlCF}wOZ};&|%JAqk007_spa6nh004nA2d)p#>o61#)M{RR<=5Q^J$X2!zp5u<MFzF>YHihV{XEXMDIYO(M+1ZhrGb&ck}b@BKqgD^IY~%EW9@0xG-wo+;wGeV+S~#qGkH(8X7GCyR5hhJzf1X*6|BC;=|r~8^t5(DuMe<T8r2BNz~_Skdj<l_0l}+e000007X}^y34n?K2MYlJ0U;p)7z}`+000",
    "LZMA": "H+sCUCma9-0PcL>p8x;=00000761SM00000cw;e705YBmMNk7XTt_AB0t9dO@lJo!rn!G}|IRD`0N?<a0D4^j0D&_Ht`E=IZ@drd>Yf1&VgrrSN$la0yoX{(O)CSq*DKPiVWooQ)Lj3Kpyk|py%Yy={CQ@K<-D65AAPJM9(DUFMP=#%DJa)(>mL8$FL0oOOS{^CvFyEm+;&bp-y^|B5s-Vg1ymOaEI$e+lo9X-AYlvu0000N1|0zjfPw%A3jqKDAt3=641k#c00",
    "Deflate": "H+sCUCma9-ZCdDbl>h($00000761SM00000emX^-ORXp<%}Y<^N*$%iqKi|L^Yc;w-~gBad0hYifinlL56?NU3<t<VYy#JXI^PgLc^E@$mwOT6BB|38YVO0;R?c7QO+LeWN|x{VBeiikQ%Xh651{~!P30vv^u_V3ZAXb*wGw4Z1~c7d1m}xxKtIDMMeLPeC|eouf)~F3lqc<_CytbPXnJ&qMYec*`rrTn02c-n0SSPC00#>J00AK(0T>K`nE(I",
    "bzip2": "H+sCUCma9-t?HTnzyJUM00000761SM000004e`siLRx4!F+o`-Q(2=eN*w?IDZzjM5DtOLKp+56fN7?HrBHf}H0mZ`n)50<6W@f^#LbDZKNoUEI8czIElM5W0GI%IT>t=qGY75@(c{^Kppc+)L)5Y2t*U<F1v-dJL}K5qLep*lTK)<YBViT8b$zsotB8&Hd4Vsm=gZp*@H(d>cO$&8<(xHB^xO==Bq2m58J6`SuFnLeXpER16fKN?b`o;oebMGEZkOg|KQ$NSEw$?d>~hUtU;qFB7Y08834nnB2MYlJ0U;p)7z}`!000",
    "zstd": "H+sCUCma9--_^b*rT_o{00000761SM00000LOdc9D77#B09dU60B~h^aCL5HWeRg;V{dL`0RS~q3m4!3oB)7b004nA2d)p#>o61#>*}7TWGC2j2H2sKIS}e%*1Dnct7aIs=isHoEZV@y_qw*mpZ6eGD_2ZfO|}I~dr6EXZLk6IgF0u&4YoNLKuXNQk1hHytJs07LuO&98c&W%S<*WS7fYk;pV%aG+0-EHRr{|w8prQ~;0z#&`R~#I000*T9svn}hyVu*0RRCZApsZ+fSmvU",
}
REFUSED = {
    "it is encrypted": "H+sCUCma9-MVOAkc>n+a000006aWAK00000f!4jsO<JXKYfv8AZK&u+IynMR0RUtH1O@;B2@nbaBbDIP00#>J00JZi@dp7CQx6wknv6Zd#s}oYYy8H?w{jsN0T=-Q3<?GS2nqq^=%QQz00jXN4FGchE&y}@cmQ+&000yU0RVt}nEm^C-2oK_0RSL?fPnx202c-j0SRdU2MYlJ0U;p)7z||q00",
    "its list of files is encrypted": "H+sCUCma9-T21u`fB*mh00000C;$Ke00000FdxIh<Ub)(_jh#ViQWoJt61Ck8#}%jpE*xuAj@Fd^*{GGF8P`bYA#Z}Bf>~7q<DyLIQ*{8q2oeRo9#l&+!Z2`@-%VzB38|Lgtg!~KBWfz{!DH2vJE=F6s{TNud>;UdP8VS*2}L=V_%@7^joLHAHoDsjN$np`mbCFm)K<97X}ak32*=h3jqKDBnI&Z0TNRWW``57AcCv2Gw`5+2VrBD3}pZS",
    "it is packed with PPMd": "H+sCUCma9-e3uhiUH||9000006aWAK00000htW{w0CMntZgt~<odDnfPykF_004nA2d)p!Z&qIV4f-Z#Kp#cbrdTG|>4_M;0tn4F<PJ=+v2=-#Y+8K3OgsOz+Dvxrw(25&ZSEKA>PM)wt=gc^^}w@Pmi5V!)BqO-3IPdJ00#>J00AK(0T>KX000",
}


def sample(text: str) -> bytes:
    """Return the bytes of a sample."""
    return base64.b85decode(text)


def number(value: int) -> bytes:
    """Write a number in the longest way there is."""
    return b"\xff" + struct.pack("<Q", value)


def make_7z(
    *members: tuple[str, bytes],
    sizes: list[int] | None = None,
    checksums: list[int] | None = None,
    start: int = 0,
    method: bytes = b"\x21\x21",
    window: int = 16,
) -> bytes:
    """Write an archive of one LZMA2 block; what it says of itself may be something else."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    packed = lzma.compress(b"".join(content for _, content in members), lzma.FORMAT_RAW, filters=filters)
    lengths = sizes or [len(content) for _, content in members]
    sums = checksums or [zlib.crc32(content) for _, content in members]
    names = "".join(f"{name}\0" for name, _ in members).encode("utf-16-le")
    head = b"\1\4\6" + number(start) + number(1) + b"\x09" + number(len(packed)) + b"\0"
    head += b"\7\x0b" + number(1) + b"\0" + number(1) + method + number(1) + bytes([window])
    head += b"\x0c" + number(sum(lengths)) + b"\0\x08\x0d" + number(len(members)) + b"\x09"
    head += b"".join(map(number, lengths[:-1]))
    # One member alone has the checksum of its block, which this writer leaves out.
    head += b"\x0a\1" + struct.pack(f"<{len(sums)}L", *sums) + b"\0\0\5" + number(len(members))
    head += b"\x11" + number(len(names) + 1) + b"\0" + names + b"\0\0"
    return wrapped(packed, head)


def wrapped(packed: bytes, head: bytes) -> bytes:
    """Put the beginning before packed bytes and a directory, with checksums that are right."""
    place = struct.pack("<QQL", len(packed), len(head), zlib.crc32(head))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<L", zlib.crc32(place)) + place + packed + head
