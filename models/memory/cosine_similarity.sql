-- cosine_similarity(a, b): of two vectors of the same dimension, from -1 to 1; 1 is the same direction.
CREATE MACRO cosine_similarity(a, b) AS list_cosine_similarity(a::DOUBLE[], b::DOUBLE[]);
