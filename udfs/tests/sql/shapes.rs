//! Shapes of queries on the table `photos`, and what each must cost.

/// A query, how many scoring nodes its plan has, and a query for the number of rows that must be scored.
pub struct Shape(pub &'static str, pub usize, pub &'static str);

const ALL: &str = "SELECT count(*) FROM photos";
const EARLY: &str = "SELECT count(*) FROM photos WHERE id < 300";
/// Rows without bytes are all the same image then.
const BYTES: &str = "SELECT count(*) FROM (SELECT DISTINCT image['bytes'] FROM photos)";
/// Where the images are read twice, each is scored once. But for the one that a file's name stands for: the file may
/// have changed.
pub const IMAGES: &str = "SELECT count(*) + 1 FROM (SELECT DISTINCT image FROM photos)";
const FIVE: &str = "SELECT 5";

/// `labels` has every id twice.
pub const SHAPES: &[Shape] = &[
    Shape("SELECT dismax_prediction(image), dismax_ood_score(image) FROM photos", 1, ALL),
    Shape("SELECT id, dismax_prediction(image) FROM photos WHERE dismax_is_ood(image)", 1, ALL),
    Shape("SELECT id, dismax_ood_p_value(image) FROM photos WHERE NOT dismax_is_ood(image) AND id < 300", 1, EARLY),
    Shape("SELECT id FROM photos WHERE id < 300 AND (digit = 3 OR dismax_confidence(image) > 0.5)", 1, EARLY),
    Shape("SELECT dismax_prediction(image), count(*) FROM photos GROUP BY dismax_prediction(image)", 1, ALL),
    Shape(
        "SELECT digit, avg(dismax_confidence(image)) FROM photos WHERE id < 300 GROUP BY digit \
         HAVING max(dismax_ood_score(image)) > 0 ORDER BY min(dismax_ood_p_value(image))",
        1,
        EARLY,
    ),
    Shape("SELECT id FROM photos ORDER BY dismax_ood_score(image), id", 1, ALL),
    Shape("SELECT id FROM photos ORDER BY dismax_ood_score(image) DESC, id LIMIT 5", 1, ALL),
    Shape("SELECT id, dismax_prediction(image) FROM photos ORDER BY id LIMIT 5", 1, FIVE),
    Shape("SELECT id, dismax_prediction(image) FROM photos ORDER BY id LIMIT 5 OFFSET 2", 1, "SELECT 5"),
    Shape("SELECT count(*) FROM (SELECT dismax_prediction(image) p FROM photos LIMIT 5) WHERE p = 'cat'", 1, FIVE),
    Shape("SELECT p, id FROM (SELECT id, dismax_prediction(image) p FROM photos) v ORDER BY id DESC LIMIT 5", 1, FIVE),
    Shape("SELECT l.label, dismax_prediction(p.image) FROM photos p JOIN labels l ON p.id = l.id", 1, ALL),
    Shape(
        "SELECT l.label, dismax_prediction(p.image) FROM labels l JOIN photos p ON p.id = l.id WHERE dismax_is_ood(p.image)",
        1,
        ALL,
    ),
    Shape(
        "SELECT p.id, c.n FROM photos p JOIN classes c ON dismax_prediction(p.image) = c.name WHERE p.id < 300",
        1,
        EARLY,
    ),
    Shape("SELECT p.id, l.label, dismax_error(p.image) FROM photos p LEFT JOIN labels l ON p.id = l.id", 1, ALL),
    Shape(
        "SELECT dismax_prediction(p.image), l.label FROM photos p JOIN labels l ON p.id = l.id LIMIT 10",
        1,
        "SELECT 10",
    ),
    Shape(
        "SELECT dismax_prediction(p.image), l.label FROM photos p JOIN labels l ON p.id = l.id ORDER BY l.label LIMIT 10",
        1,
        "SELECT 10",
    ),
    Shape(
        "SELECT id, dismax_prediction(image) FROM photos WHERE id IN (SELECT id FROM labels WHERE label < 100)",
        1,
        "SELECT count(*) FROM photos WHERE id IN (SELECT id FROM labels WHERE label < 100)",
    ),
    Shape(
        "SELECT id, dismax_prediction(image) FROM photos p WHERE NOT EXISTS (SELECT 1 FROM labels l WHERE l.id = p.id AND label < 100)",
        1,
        "SELECT count(*) FROM photos WHERE id NOT IN (SELECT id FROM labels WHERE label < 100)",
    ),
    Shape(
        "SELECT p.id, dismax_prediction(p.image), l.n FROM photos p JOIN (SELECT id, count(*) n FROM labels WHERE label < 100 GROUP BY id) l \
         ON p.id = l.id",
        1,
        "SELECT count(*) FROM photos WHERE id IN (SELECT id FROM labels WHERE label < 100)",
    ),
    Shape(
        "SELECT id FROM photos WHERE id < 300 AND id IN (SELECT id FROM photos WHERE id < 300 AND dismax_is_ood(image))",
        1,
        EARLY,
    ),
    Shape(
        "SELECT p, c, count(*) FROM (SELECT dismax_prediction(image) p, dismax_confidence(image) c, dismax_is_ood(image) o \
         FROM photos) v WHERE o AND c > 0.1 GROUP BY p, c",
        1,
        ALL,
    ),
    Shape("SELECT p, count(*) FROM scored WHERE s > 0 GROUP BY p", 1, ALL),
    Shape("SELECT id, p, dismax_error(image) FROM scored WHERE id < 300 ORDER BY s", 1, EARLY),
    Shape(
        "WITH s AS (SELECT id, dismax(image) d FROM photos) SELECT id, d['prediction'] FROM s WHERE d['is_ood']",
        1,
        ALL,
    ),
    Shape("SELECT CASE WHEN dismax_is_ood(image) THEN 'odd' ELSE dismax_prediction(image) END FROM photos", 1, ALL),
    Shape("SELECT coalesce(dismax_error(image), dismax_prediction(image)), count(*) FROM photos GROUP BY 1", 1, ALL),
    Shape(
        "SELECT id, rank() OVER (PARTITION BY dismax_prediction(image) ORDER BY dismax_ood_score(image)) FROM photos",
        1,
        ALL,
    ),
    Shape(
        "SELECT id, dismax_prediction(image), row_number() OVER (ORDER BY id) FROM photos WHERE id < 300 ORDER BY 3",
        1,
        EARLY,
    ),
    Shape("SELECT DISTINCT dismax_prediction(image) FROM photos", 1, ALL),
    Shape("SELECT count(*) FILTER (WHERE dismax_is_ood(image)), count(dismax_error(image)) FROM photos", 1, ALL),
    Shape("SELECT count(*) FROM photos WHERE dismax_is_ood(image)", 1, ALL),
    Shape("SELECT id, unnest(dismax_probabilities(image)) FROM photos WHERE id < 300", 1, EARLY),
    Shape("SELECT dismax_is_ood(image), dismax_is_ood(image, 0.2), dismax_is_ood(image, 0.5) FROM photos", 1, ALL),
    Shape(
        "SELECT id, dismax_top_k(image, 2), dismax_prediction_set(image, 0.1) FROM photos \
         WHERE dismax_confidence(image) > 0.34 AND id < 300",
        1,
        EARLY,
    ),
    Shape(
        "SELECT dismax_top_k(image, 1)[1]['class'] AS c, count(*) FROM photos \
         WHERE array_length(dismax_prediction_set(image, 0.05)) > 1 GROUP BY c",
        1,
        ALL,
    ),
    Shape("SELECT id, dismax_embedding(image) FROM photos WHERE dismax_is_ood(image) AND id < 300", 1, EARLY),
    // The side that is read first has more than the other asks for, or less.
    Shape(
        "SELECT a.id, dismax_prediction(a.image), dismax_embedding(b.image)[1] >= 0 FROM photos a JOIN photos b ON a.id = b.id",
        2,
        IMAGES,
    ),
    Shape(
        "SELECT id FROM photos WHERE dismax_embedding(image)[1] < (SELECT max(dismax_ood_score(image)) + 100 FROM photos)",
        2,
        IMAGES,
    ),
    Shape(
        "SELECT a.id, dismax_embedding(a.image)[1] >= 0, dismax_prediction(b.image) FROM photos a JOIN photos b ON a.id = b.id",
        2,
        IMAGES,
    ),
    Shape(
        "SELECT dismax_image_info(image)['format'] AS f, dismax_prediction(image), count(*) FROM photos \
         WHERE dismax_image_info(image)['light'] > 0.3 GROUP BY f, dismax_prediction(image)",
        1,
        "SELECT count(*) FROM photos WHERE dismax_image_info(image)['light'] > 0.3",
    ),
    Shape("SELECT dismax_prediction(image['bytes']) FROM photos WHERE dismax_is_ood(image['bytes'])", 1, BYTES),
    Shape(
        "SELECT dismax_prediction(image), digit, count(*) FROM photos GROUP BY ROLLUP (dismax_prediction(image), digit)",
        1,
        ALL,
    ),
    Shape(
        "SELECT dismax_prediction(i) FROM (SELECT image i FROM photos UNION ALL SELECT image FROM photos)",
        1,
        IMAGES,
    ),
    Shape(
        "SELECT dismax_prediction(image) FROM photos UNION ALL SELECT dismax_error(image) FROM photos WHERE id < 300",
        2,
        IMAGES,
    ),
    Shape(
        "SELECT image, dismax_prediction(image) FROM photos WHERE dismax_confidence(image) > 0.4 AND digit = 4",
        1,
        "SELECT count(*) FROM photos WHERE digit = 4",
    ),
    Shape(
        "SELECT p.id FROM photos p WHERE dismax_confidence(p.image) > (SELECT avg(label) FROM labels) / 100000 AND id < 300",
        1,
        EARLY,
    ),
    Shape(
        "SELECT a.id, b.id FROM photos a JOIN photos b ON dismax_prediction(a.image) = dismax_prediction(b.image) AND a.id < b.id",
        2,
        IMAGES,
    ),
    Shape(
        "SELECT id, dismax_ood_score(image) FROM photos \
         WHERE dismax_ood_score(image) > (SELECT avg(dismax_ood_score(image)) FROM photos)",
        2,
        IMAGES,
    ),
    Shape(
        "WITH s AS (SELECT id, digit, dismax_prediction(image) p FROM photos) \
         SELECT s.id, n FROM s JOIN (SELECT p, count(*) n FROM s GROUP BY p) c ON s.p = c.p",
        2,
        IMAGES,
    ),
    Shape("SELECT p, id FROM scored WHERE s > (SELECT max(s) / 2 FROM scored WHERE id < 300)", 2, IMAGES),
    Shape(
        "SELECT id, dismax_prediction(image) FROM photos WHERE dismax_is_ood(image) AND dismax_prediction(image) IN \
         (SELECT dismax_prediction(image) FROM photos WHERE id < 300 AND NOT dismax_is_ood(image))",
        2,
        IMAGES,
    ),
    Shape(
        "SELECT id FROM photos WHERE dismax_is_ood(image) INTERSECT SELECT id FROM photos WHERE dismax_error(image) IS NULL \
         UNION ALL SELECT id FROM photos WHERE id < 300 AND dismax_confidence(image) > 0.5",
        3,
        IMAGES,
    ),
    Shape(
        "SELECT p.id, dismax_prediction(p.image), f.label FROM photos p JOIN few f ON p.id = f.id WHERE f.label <> 7",
        1,
        "SELECT count(*) FROM photos WHERE id IN (SELECT id FROM few WHERE label <> 7)",
    ),
];

/// The other tables, made of `photos`.
pub const TABLES: &[&str] = &[
    "CREATE TABLE labels AS SELECT id, id AS label FROM photos UNION ALL SELECT id, id + 10000 FROM photos",
    "CREATE TABLE few AS SELECT id % 10000 AS id, label FROM labels WHERE label % 10000 < 20",
    "CREATE TABLE classes AS VALUES ('cat', 1), ('dog', 2), ('ship', 3)",
    "CREATE OR REPLACE TABLE classes AS SELECT column1 AS name, column2 AS n FROM classes",
    "CREATE VIEW scored AS SELECT id, image, dismax_prediction(image) AS p, dismax_ood_score(image) AS s FROM photos",
];

/// Whether it is open which rows a query gives: those that a limit leaves without an order.
pub fn is_open(sql: &str) -> bool {
    sql.contains("LIMIT 5)") || sql.contains("LIMIT 10") && !sql.contains("ORDER BY")
}
