#include "sql_prompt.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <memory>
#include <optional>
#include <string>

#include <histedit.h>
#include <unistd.h>
#include <clocale>

#include "command.h"
#include "output.h"
#include "statements.h"

namespace sheaf::cli {
namespace {

constexpr const char* kHelp =
    "  statement;        runs it; it may span several lines\n"
    "  \\tables           lists the tables\n"
    "  \\d TABLE          lists a table's columns\n"
    "  \\timing           shows how long statements take, or no longer\n"
    "  \\format FORMAT    table, csv, json or ndjson\n"
    "  \\q                leaves (as does Ctrl-D); Ctrl-C cancels\n";
constexpr int kHistoryLines = 5'000;

bool g_continued = false;  // Which prompt libedit is to show; it hands its callback no pointer of ours.

const char* PromptText(EditLine*) { return g_continued ? "   ...> " : "sheaf> "; }

/// Reads one character of standard input; unlike libedit's own reader it ends at the first Ctrl-C.
int ReadCharacter(EditLine*, wchar_t* out) {
  std::mbstate_t state = {};
  for (;;) {
    char byte = 0;
    const ssize_t read_bytes = ::read(STDIN_FILENO, &byte, 1);
    if (read_bytes <= 0) return static_cast<int>(read_bytes);
    const size_t used = std::mbrtowc(out, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;  // More bytes belong to this character.
    if (used == static_cast<size_t>(-1)) *out = L'?';
    return 1;
  }
}

/// libedit with a history that is kept in the home directory.
class LineEditor {
 public:
  LineEditor() : history_(history_init()), editor_(el_init("sheaf", stdin, stdout, stderr)) {
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistoryLines);
    history(history_, &event, H_SETUNIQUE, 1);
    if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
      file_ = std::string(home) + "/.sheaf_history";
      history(history_, &event, H_LOAD, file_.c_str());  // No file yet: an empty history.
    }
    el_set(editor_, EL_PROMPT, &PromptText);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_GETCFN, &ReadCharacter);
    el_source(editor_, nullptr);
  }
  ~LineEditor() {
    HistEvent event;
    if (!file_.empty() && history(history_, &event, H_SAVE, file_.c_str()) == -1) {
      std::fprintf(stderr, "sheaf: the history could not be saved in %s\n", file_.c_str());
    }
    el_end(editor_);
    history_end(history_);
  }
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// A line with its end, or nothing at the end of input. `interrupted` tells Ctrl-C from Ctrl-D.
  std::optional<std::string> Read(bool continued, bool* interrupted) {
    g_continued = continued;
    int count = 0;
    const char* line = el_gets(editor_, &count);
    *interrupted = Interrupted();
    ClearInterrupt();
    if (*interrupted) {
      el_reset(editor_);
      std::printf("\n");
      return std::nullopt;
    }
    if (line == nullptr || count <= 0) return std::nullopt;
    return std::string(line, static_cast<size_t>(count));
  }

  void Remember(const std::string& statement) {
    HistEvent event;
    history(history_, &event, H_ENTER, (statement + ";").c_str());
  }
  void RememberLine(const std::string& line) {
    HistEvent event;
    history(history_, &event, H_ENTER, line.c_str());
  }

 private:
  History* const history_;
  EditLine* const editor_;
  std::string file_;
};

class Prompt {
 public:
  Prompt(QuerySource* source, query::Format format) : source_(source), format_(format) {}

  void Run() {
    std::printf("Statements end with ';'. \\? lists the commands.\n");
    std::string text;
    for (;;) {
      bool interrupted = false;
      const std::optional<std::string> line = editor_.Read(HasSql(text), &interrupted);
      if (interrupted) {
        text.clear();
        continue;
      }
      if (!line) break;
      if (!HasSql(text) && line->starts_with('\\')) {
        editor_.RememberLine(*line);
        if (!RunCommand(line->substr(0, line->find_last_not_of(" \t\r\n") + 1))) return;
        continue;
      }
      text += *line;
      Statements statements = SplitStatements(text);
      for (const std::string& statement : statements.complete) {
        editor_.Remember(statement);
        RunStatement(statement);
      }
      text = HasSql(statements.rest) ? statements.rest + "\n" : "";
    }
    std::printf("\n");
  }

 private:
  /// Returns false for \q.
  bool RunCommand(const std::string& line) {
    const size_t space = line.find_first_of(" \t");
    const std::string verb = line.substr(0, space);
    const size_t word = space == std::string::npos ? std::string::npos : line.find_first_not_of(" \t", space);
    const std::string argument = word == std::string::npos ? "" : line.substr(word);
    if (verb == "\\q" || verb == "\\quit") return false;
    if (verb == "\\?" || verb == "\\help") {
      std::printf("%s", kHelp);
    } else if (verb == "\\timing") {
      timing_ = !timing_;
      std::printf("timing is %s\n", timing_ ? "on" : "off");
    } else if (verb == "\\tables") {
      RunStatement("SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL");
    } else if (verb == "\\d" && !argument.empty()) {
      RunStatement("DESCRIBE " + argument);
    } else if (verb == "\\format") {
      const auto format = query::ParseFormat(argument);
      if (!format.ok() || *format == query::Format::kArrow || *format == query::Format::kParquet) {
        std::printf("the prompt shows table, csv, json or ndjson\n");
      } else {
        format_ = *format;
      }
    } else {
      std::printf("'%s' is not known; \\? lists the commands\n", line.c_str());
    }
    return true;
  }

  void RunStatement(const std::string& sql) {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = [&]() -> Status {
      SHEAF_ASSIGN_OR_RETURN(const auto rows, source_->Start(sql));
      return PrintRows(rows.get(), format_).status();
    }();
    if (!status.ok()) Fail(status);
    ClearInterrupt();
    if (timing_) {
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
      std::printf("%.1f ms\n", took.count());
    }
  }

  QuerySource* const source_;
  query::Format format_;
  bool timing_ = false;
  LineEditor editor_;
};

}  // namespace

int RunPrompt(QuerySource* source, query::Format format) {
  std::setlocale(LC_CTYPE, "");
  Prompt(source, format).Run();
  const Status closed = source->Close();
  return closed.ok() ? kDone : Fail(closed);
}

}  // namespace sheaf::cli
