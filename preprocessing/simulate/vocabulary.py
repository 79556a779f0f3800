"""Decides which categories and styles exist, what they are called in titles and what they cost."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Category:
    """Nouns of one category's titles; `price` is the median in KRW."""

    name: str
    price: float
    nouns: tuple[str, ...]


CATEGORIES = (
    Category("bicycles", 180_000, ("road bike", "mountain bike", "자전거", "로드바이크", "city bicycle")),
    Category("phones", 350_000, ("smartphone", "phone 128GB", "휴대폰", "스마트폰", "dual sim phone")),
    Category("laptops", 600_000, ("laptop 14in", "notebook", "노트북", "ultrabook", "gaming laptop")),
    Category("cameras", 400_000, ("film camera", "mirrorless camera", "카메라", "zoom lens", "필름카메라")),
    Category("audio", 120_000, ("headphones", "speaker", "이어폰", "turntable", "스피커")),
    Category("consoles", 220_000, ("game console", "controller", "게임기", "handheld console", "콘솔 게임")),
    Category("sofas", 150_000, ("sofa", "couch", "소파", "two seater", "리클라이너")),
    Category("tables", 80_000, ("dining table", "desk", "책상", "식탁", "side table")),
    Category("lighting", 35_000, ("lamp", "floor lamp", "조명", "스탠드", "string lights")),
    Category("kitchen", 45_000, ("frying pan", "coffee grinder", "냄비", "커피머신", "dinner plates")),
    Category("appliances", 160_000, ("vacuum cleaner", "fan", "청소기", "공기청정기", "microwave")),
    Category("plants", 15_000, ("monstera", "cactus", "화분", "다육이", "olive tree")),
    Category("womens-wear", 40_000, ("dress", "cardigan", "원피스", "블라우스", "wool coat")),
    Category("mens-wear", 40_000, ("shirt", "denim jacket", "셔츠", "자켓", "chinos")),
    Category("shoes", 60_000, ("sneakers", "boots", "운동화", "구두", "loafers")),
    Category("bags", 90_000, ("backpack", "tote bag", "가방", "크로스백", "handbag")),
    Category("watches", 150_000, ("wristwatch", "chronograph", "손목시계", "시계", "diver watch")),
    Category("baby", 50_000, ("stroller", "baby carrier", "유모차", "아기침대", "high chair")),
    Category("toys", 20_000, ("brick set", "doll house", "장난감", "퍼즐", "board game")),
    Category("books", 12_000, ("novel", "comic set", "만화책", "소설책", "cookbook")),
    Category("instruments", 250_000, ("guitar", "keyboard piano", "기타", "피아노", "ukulele")),
    Category("camping", 90_000, ("tent", "sleeping bag", "텐트", "캠핑의자", "camp stove")),
    Category("fitness", 70_000, ("dumbbells", "yoga mat", "덤벨", "런닝머신", "kettlebell")),
    Category("pets", 25_000, ("cat tower", "dog crate", "캣타워", "강아지집", "aquarium")),
)

STYLES = (
    ("vintage", "retro", "빈티지", "antique", "70s"),
    ("minimal", "plain white", "미니멀", "simple", "심플한"),
    ("premium", "luxury", "명품", "고급", "limited edition"),
    ("cute", "pastel", "귀여운", "파스텔", "🐰 kawaii"),
    ("rugged", "outdoor", "튼튼한", "heavy duty", "방수"),
    ("handmade", "craft", "수제", "원목", "natural"),
    ("smart", "wireless", "블루투스", "최신형", "high tech"),
    ("colourful", "bold print", "알록달록", "rainbow", "🌈 무지개"),
)

FILLERS = (
    "", "", "", "", "급처", "거의 새것", "like new", "pickup only", "네고 가능", "used once", "quick sale",
    "🔥", "✨", "👍", "풀박스", "box included",
)  # fmt: skip
