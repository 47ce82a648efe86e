// Known answers come from sacrebleu 2.6.0 (smooth_method none, 13a) and rouge-score 0.1.2 (no stemmer) on these texts.
#include <doctest/doctest.h>

#include <hone/eval/text_metrics.hpp>

#include <string>
#include <vector>

namespace {

using hone::References;
using Texts = std::vector<std::string>;

struct Corpus {
  Texts hypotheses;
  std::vector<References> references;
};

const Corpus several{
    {"The Velora is a sage green desk lamp at $24.", "A sturdy kettle, made of steel, holds 1.7 litres.",
     "This 10-inch pan isn't heavy."},
    {{"The Velora is a sage green desk lamp that costs $24.", "At $24, the Velora desk lamp comes in sage green."},
     {"The kettle is sturdy, made of steel and holds 1.7 litres."},
     {"This pan of 10-inch isn't heavy at all.", "A 10-inch pan that isn't heavy.", "The light 10-inch pan."}}};

const Corpus brief{{"the blue mug is small", "a light bag for runners"},
                   {{"the blue mug is small and round, with a wide handle"},
                    {"a light bag for runners and for long walks in the rain"}}};

doctest::Approx near(double value) { return doctest::Approx(value).epsilon(1e-12); }

TEST_CASE("13a: punctuation stands alone, numbers and apostrophes stay whole") {
  CHECK(hone::tokenize_13a("It isn't (very) heavy, is it?") ==
        Texts{"It", "isn't", "(", "very", ")", "heavy", ",", "is", "it", "?"});
  CHECK(hone::tokenize_13a("$1,000.50 no.5 10-inch a-b end.") ==
        Texts{"$", "1,000.50", "no", ".", "5", "10", "-", "inch", "a-b", "end", "."});
  CHECK(hone::tokenize_13a("x &amp; y &quot;z&quot;\nnew-\nline") == Texts{"x", "&", "y", "\"", "z", "\"", "newline"});
  CHECK(hone::tokenize_13a("caf\xc3\xa9, \xc3\xa9!") == Texts{"caf\xc3\xa9", ",", "\xc3\xa9", "!"});
  CHECK(hone::tokenize_13a(" \t ").empty());
}

TEST_CASE("BLEU-4 with several references") {
  const auto bleu = hone::corpus_bleu(several.hypotheses, several.references);
  CHECK(bleu.score == near(56.69274837948397));
  CHECK(bleu.precisions[0] == near(0.90625));
  CHECK(bleu.precisions[1] == near(0.6896551724137931));
  CHECK(bleu.precisions[2] == near(0.5384615384615384));
  CHECK(bleu.precisions[3] == near(0.34782608695652173));
  CHECK(bleu.brevity_penalty == near(0.9692332344763441));
  CHECK(bleu.length == 32);
  CHECK(bleu.reference_length == 33);
}

TEST_CASE("BLEU-4 punishes texts that are too short") {
  const auto bleu = hone::corpus_bleu(brief.hypotheses, brief.references);
  CHECK(bleu.score == near(24.659696394160658));
  CHECK(bleu.brevity_penalty == near(0.2465969639416065));
}

TEST_CASE("BLEU-4 takes the shorter of two equally near references, and is 0 without a common 4-gram") {
  const auto tie = hone::corpus_bleu(Texts{"a b c d e f"}, std::vector<References>{{"a b c d e f g h", "a b c d"}});
  CHECK(tie.reference_length == 4);
  CHECK(tie.score == near(100));
  CHECK(hone::corpus_bleu(Texts{"one two three"}, std::vector<References>{{"one two three"}}).score == 0);
  CHECK(hone::corpus_bleu(Texts{""}, std::vector<References>{{"one two three"}}).score == 0);
}

TEST_CASE("BLEU-4 counts a repeated word only as often as a reference has it") {
  const auto bleu = hone::corpus_bleu(Texts{"the the the the the the the"},
                                      std::vector<References>{{"the cat is on the mat", "there is a cat on the mat"}});
  CHECK(bleu.precisions[0] == near(2.0 / 7.0));  // the example of the BLEU paper
}

TEST_CASE("ROUGE-L takes the best reference and the mean over texts") {
  CHECK(hone::rouge_l(several.hypotheses, several.references) == near(79.48051948051948));
  CHECK(hone::rouge_l(brief.hypotheses, brief.references) == near(60.66176470588236));
  CHECK(hone::rouge_l(Texts{"It costs $1,000 & more."}, std::vector<References>{{"It costs $1,000 &amp; more."}}) ==
        near(90.9090909090909));
  CHECK(hone::rouge_l_sentence("", "a b") == 0);
  CHECK(hone::rouge_l_sentence("a c b d", "a b c d") == near(0.75));
}

TEST_CASE("a corpus must fit its references") {
  CHECK_THROWS_WITH_AS(hone::corpus_bleu(Texts{"a", "b"}, std::vector<References>{{"a"}}),
                       "[bleu] 2 texts, but references for 1", hone::Error);
  CHECK_THROWS_WITH_AS(hone::rouge_l(Texts{"a"}, std::vector<References>{{}}), "[rouge_l] text 0 has no reference",
                       hone::Error);
  CHECK_THROWS_AS(hone::corpus_bleu(Texts{}, std::vector<References>{}), hone::Error);
}

}  // namespace
