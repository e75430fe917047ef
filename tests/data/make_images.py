"""Makes the images in this folder and what Pillow makes of them. Run: python make_images.py (needs Pillow; made with 13.0)."""
import io
import math
import pathlib

from PIL import Image

HERE = pathlib.Path(__file__).parent


def picture(width, height):
    """Waves of several lengths with sharp edges: smooth and rough parts for the filter."""
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            wave = math.sin(x * 0.9) + math.cos(y * 0.35 + x * 0.1)
            edge = 90 if (x // 5 + y // 7) % 2 else 0
            image.putpixel((x, y), (int(80 + 40 * wave) + edge, (x * 37 + y * 91) % 256, 255 - int(x * 255 / width)))
    return image


def save(image, name):
    image.save(HERE / name, optimize=True)


source = picture(61, 47)
save(source, "resize_source.png")
save(source.resize((32, 32), Image.Resampling.BILINEAR), "resize_exact_32x32.png")
save(source.resize((80, 70), Image.Resampling.BILINEAR), "resize_exact_80x70.png")
# torchvision: Resize(26) keeps the proportions (26 x int(26 * 61 / 47) = 26 x 33), CenterCrop((24, 20)) follows.
scaled = source.resize((33, 26), Image.Resampling.BILINEAR)
top, left = round((26 - 24) / 2), round((33 - 20) / 2)
save(scaled.crop((left, top, left + 20, top + 24)), "resize_shorter_26_crop_24x20.png")

# Flat blocks, so that chroma subsampling does not matter.
blocks = Image.new("CMYK", (32, 32))
for index, colour in enumerate([(0, 0, 0, 0), (255, 0, 0, 0), (30, 200, 120, 10), (0, 0, 0, 200)]):
    blocks.paste(colour, (index % 2 * 16, index // 2 * 16, index % 2 * 16 + 16, index // 2 * 16 + 16))
buffer = io.BytesIO()
blocks.save(buffer, "JPEG", quality=95)
(HERE / "cmyk.jpg").write_bytes(buffer.getvalue())
save(Image.open(buffer).convert("RGB"), "cmyk_as_rgb.png")

# Orientation 6: "turn by 90 degrees to view".
exif = Image.Exif()
exif[0x0112] = 6
picture(24, 16).save(HERE / "orientation_6.jpg", quality=60, exif=exif)
# Progressive: several scans, each with a header of its own.
picture(24, 16).save(HERE / "progressive.jpg", quality=60, progressive=True)
