#ifndef TESTS_DATA_GENERATED_TEXT_H_
#define TESTS_DATA_GENERATED_TEXT_H_

#include <random>
#include <string>
#include <vector>

namespace moe {

// Text like a language's: words of syllables, a few of them most of the time,
// with punctuation, numbers, lines and characters of other scripts.
inline std::string GeneratedText(size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  const std::vector<std::string> syllables = {"ka",
                                              "lo",
                                              "the",
                                              "in",
                                              "er",
                                              "mu",
                                              "st",
                                              "an",
                                              "o",
                                              "wi",
                                              "ri",
                                              "ed",
                                              "q",
                                              "Z",
                                              "B",
                                              "\xC3\xA9",
                                              "\xCE\xBB\xCE\xBF",
                                              "ng"};
  const std::vector<std::string> marks = {
      ". ",   ", ",     "\n",      "\n\n", " - ", "; \"",
      "\"? ", " 1984 ", " 27,50 ", "  ",   "\t",  " \xE6\xBC\xA2\xE5\xAD\x97 ",
      "'s "};
  std::vector<std::string> words(500);
  for (std::string& word : words) {
    for (size_t n = 1 + random() % 4; n > 0; --n) {
      word += syllables[random() % syllables.size()];
    }
  }
  std::string text;
  while (text.size() < bytes) {
    const size_t most = 1 + random() % words.size();
    text += words[random() % most];
    text += random() % 6 == 0 ? marks[random() % marks.size()] : " ";
  }
  return text;
}

}  // namespace moe

#endif  // TESTS_DATA_GENERATED_TEXT_H_
